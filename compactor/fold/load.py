"""The fold: new events, each once, in DuckDB's tables (P6, P7). What is written to disk
is in parts.py.

Of several lines with one (site, id) the one that was received first counts, wherever it
stands and whichever pass sees it; so any split of the same segments into passes ends in
the same events. A line that turns out to precede one that an earlier pass archived
takes its place, and the day that held the other is written again.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from compactor.fold.user_agents import parse_agent
from compactor.fold.verify_segments import VerifiedSegment
from shared.disk.layout import PACKED_SUFFIXES
from shared.duckdb_engine import one_row
from shared.schema import INCOMING_COLUMNS, LINE_COLUMNS, REQUIRED
from shared.segments.line import LINE_MAX_BYTES, SCHEMA_VERSION, newer_line


class LinesDoNotParse(Exception):
    """DuckDB made of the files something else than their lines. Check every line, then
    fold again.
    """


def load_lines(database: duckdb.DuckDBPyConnection, checked: Sequence[VerifiedSegment], sites: tuple[str, ...]) -> None:
    """Make the table `incoming` and the view `fresh` (with what a user agent says) from
    the lines of segments.
    """
    files = [str(each.path) for each in checked if each.lines]
    columns = ", ".join(f"{name} {type_}" for name, type_ in INCOMING_COLUMNS.items())
    database.execute(f"CREATE OR REPLACE TEMP TABLE incoming (v INTEGER, {columns})")
    if files:
        _insert_lines(database, files, sites)
    expected = sum(each.lines for each in checked)
    complete = " AND ".join(f"{name} IS NOT NULL" for name in ("v", *REQUIRED))
    (found, placed, newest) = one_row(
        database,
        f"SELECT count(*), count(*) FILTER ({complete}), max(v) FROM incoming",
    )
    if newest is not None and newest > SCHEMA_VERSION:
        raise newer_line(newest)
    if found != expected or placed != expected:
        raise LinesDoNotParse(f"{expected} lines were written, {found} were read, {placed} of them are events")
    _read_agents(database)


def _insert_lines(database: duckdb.DuckDBPyConnection, files: list[str], sites: tuple[str, ...]) -> None:
    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in {"v": "INTEGER", **LINE_COLUMNS}.items())
    lines = (
        f"SELECT * REPLACE (props::VARCHAR AS props) FROM read_json($files, format = 'newline_delimited', "
        f"columns = {{{columns}}}, maximum_object_size = {LINE_MAX_BYTES * 4})"
    )
    own = "list_contains($sites::VARCHAR[], host)" if sites else "false"
    values = {"files": files, **({"sites": list(sites)} if sites else {})}
    try:
        database.execute(f"INSERT INTO incoming {_with_places(lines, own)}", values)
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        raise LinesDoNotParse(str(error)) from error
    except duckdb.IOException as error:
        if not any(file.endswith(PACKED_SUFFIXES) for file in files):
            raise
        raise LinesDoNotParse(str(error)) from error  # it does not inflate all that gzip and zstd do: zeros at the end


def _with_places(lines: str, own: str) -> str:
    """SQL of the lines with what their URLs say: path, host of the referrer (NULL for
    the site's own), utm parameters.

    Step by step, each step of the one before: an expression inside another would be
    computed as often as it stands there. `instr` and `substr` take half the time of
    `split_part`, which makes a list of all pieces, and less of regular expressions.
    """
    parts = ("source", "medium", "campaign")
    has_utm = "CASE WHEN contains(page, 'utm_') AND contains(page, '?')"
    query = "'&' || substr(page, instr(page, '?') + 1)"
    steps = [
        f"*, {_before('url', '#')} AS page, {_after('referrer', '://')} AS host",
        f"* REPLACE ({_before('host', '/')} AS host), {_before('page', '?')} AS place, {has_utm} THEN {query} END AS query",
        f"* EXCLUDE (page, query) REPLACE ({_before('host', '?')} AS host, substr(place, instr(page, '://') + 3) AS place), "
        + ", ".join(f"{_after('query', f'&utm_{part}=')} AS utm_{part}" for part in parts),
        f"* REPLACE ({_before('host', '#')} AS host, "
        + ", ".join(f"{_before(f'utm_{part}', '&')} AS utm_{part}" for part in parts)
        + ")",
        "* REPLACE (CASE WHEN contains(host, '@') THEN split_part(host, '@', -1) ELSE host END AS host)",
        f"* REPLACE (lower({_before('host', ':')}) AS host, "
        + ", ".join(f"{_spaced(f'utm_{part}')} AS utm_{part}" for part in parts)
        + ")",
        "* REPLACE (" + ", ".join(f"{_decoded(f'utm_{part}')} AS utm_{part}" for part in parts) + ")",
        "* EXCLUDE (place, host, utm_source, utm_medium, utm_campaign), "
        "CASE WHEN url IS NULL THEN NULL WHEN contains(place, '/') THEN substr(place, instr(place, '/')) ELSE '/' END AS path, "
        f"CASE WHEN host = '' OR host = site OR {_is_www('host', 'site')} OR {_is_www('site', 'host')} OR {own} "
        "THEN NULL ELSE host END AS referrer_host, "
        + ", ".join(f"CASE WHEN utm_{part} <> '' THEN {_short(f'utm_{part}')} END AS utm_{part}" for part in parts),
    ]
    for step in steps:
        lines = f"SELECT {step} FROM ({lines})"
    return lines


def _before(text: str, mark: str) -> str:
    """SQL of what stands before the first mark; the whole text where there is none."""
    return f"CASE WHEN contains({text}, '{mark}') THEN left({text}, instr({text}, '{mark}') - 1) ELSE {text} END"


def _after(text: str, mark: str) -> str:
    """SQL of what stands after the first mark; nothing where there is none."""
    found = f"substr({text}, instr({text}, '{mark}') + {len(mark)})"
    return f"CASE WHEN contains({text}, '{mark}') THEN {found} WHEN {text} IS NOT NULL THEN '' END"


def _is_www(long: str, short: str) -> str:
    return f"(starts_with({long}, 'www.') AND substr({long}, 5) = {short})"


def _spaced(text: str) -> str:
    return f"CASE WHEN contains({text}, '+') THEN replace({text}, '+', ' ') ELSE {text} END"


def _short(text: str) -> str:
    """At most 200 characters; nothing with fewer bytes has more."""
    return f"CASE WHEN strlen({text}) > 200 THEN left({text}, 200) ELSE {text} END"


def _decoded(text: str) -> str:
    """What does not decode (a lone %, bytes that are not UTF-8) stays as it was sent:
    one odd URL must not stop the fold.
    """
    return f"CASE WHEN contains({text}, '%') THEN coalesce(TRY(url_decode({text})), {text}) ELSE {text} END"


def _read_agents(database: duckdb.DuckDBPyConnection) -> None:
    """Parse each distinct user agent once, and join what it says to its events."""
    distinct = database.execute("SELECT DISTINCT ua FROM incoming WHERE ua IS NOT NULL").fetchall()
    agents = [parse_agent(ua) for (ua,) in distinct]
    database.execute(
        "CREATE OR REPLACE TEMP TABLE agent (ua VARCHAR, browser VARCHAR, os VARCHAR, device VARCHAR, bot BOOLEAN)"
    )
    if agents:
        columns = [list(column) for column in zip(*agents, strict=True)]
        database.execute(
            "INSERT INTO agent SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[]), "
            "unnest($4::VARCHAR[]), unnest($5::BOOLEAN[])",
            columns,
        )
    database.execute(
        "CREATE OR REPLACE TEMP VIEW fresh AS SELECT i.* EXCLUDE (v), a.browser, a.os, a.device, coalesce(a.bot, false) AS bot "
        "FROM incoming i LEFT JOIN agent a ON i.ua = a.ua"
    )
