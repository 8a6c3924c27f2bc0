"""The fold: new events, each once, in DuckDB's tables (P6, P7). What is written to disk
is in parts.py.

Of several lines with one (site, id) the one that was received first counts, wherever it
stands and whichever pass sees it; so any split of the same segments into passes ends in
the same events. A line that turns out to precede one that an earlier pass archived
takes its place, and the day that held the other is written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from compactor.fold.user_agents import parse_agent
from compactor.fold.verify_segments import Checked
from shared.disk.layout import PACKED_SUFFIXES, DataDirectory
from shared.duckdb_engine import one_row
from shared.event_ids import server_id_random_sql, server_id_time_sql
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Snapshot
from shared.lateness import dedupe_window
from shared.schema import CONTENT, CONTEXT, INCOMING_COLUMNS, LINE_COLUMNS, REQUIRED
from shared.segments.line import LINE_MAX_BYTES, SCHEMA_VERSION, newer_line
from shared.sql.archive_events import from_archive_sql


class LinesDoNotParse(Exception):
    """DuckDB made of the files something else than their lines. Check every line, then
    fold again.
    """


@dataclass
class Folded:
    """What deduplication found. `replaced` are archived events, by UTC day, that a new
    line takes the place of.
    """

    new: dict[date, int] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0
    replaced: dict[date, int] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        """How many more events are counted than before."""
        return sum(self.new.values()) - sum(self.replaced.values())

    @property
    def days(self) -> list[date]:
        return sorted({*self.new, *self.replaced})


def read_lines(database: duckdb.DuckDBPyConnection, checked: Sequence[Checked], sites: tuple[str, ...]) -> None:
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


def _payload(table: str) -> str:
    """What must be equal for a second line with the same id to be a retry and not a
    conflict.
    """
    return "concat_ws(chr(31), " + ", ".join(f"coalesce({table}.{column}::VARCHAR, '')" for column in CONTENT) + ")"


def _precedence(table: str) -> str:
    """A text that orders the lines of one id: the first received first, and no two
    different lines equal.
    """
    rest = ", ".join(f"coalesce({table}.{column}::VARCHAR, '')" for column in CONTEXT)
    return f"concat_ws(chr(31), {table}.received::VARCHAR, {table}.time::VARCHAR, {_payload(table)}, {rest})"


def deduplicate(database: duckdb.DuckDBPyConnection, data: DataDirectory, before: Snapshot) -> Folded:
    """Leave in `incoming` one line of each (site, id), and none that an archived event
    precedes.

    Makes the table `replaced` of archived events that a line left in `incoming`
    precedes.
    """
    folded = Folded()
    _drop_repeats_within(database, folded)
    _drop_repeats_of_archived(database, data, before, folded)
    folded.new = dict(database.execute("SELECT time::DATE, count(*) FROM incoming GROUP BY ALL").fetchall())
    folded.replaced = dict(database.execute("SELECT day, count(*) FROM replaced GROUP BY ALL").fetchall())
    return folded


def _drop_repeats_within(database: duckdb.DuckDBPyConnection, folded: Folded) -> None:
    # Equal ids have equal hashes, and numbers are grouped in two thirds of the time of
    # texts. What merely shares a hash is told apart by the window.
    repeated = "SELECT hash(site, id) FROM incoming GROUP BY ALL HAVING count(*) > 1"
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE ranked AS
        SELECT i.rowid AS line, row_number() OVER copies AS place,
            {_payload("i")} <> first_value({_payload("i")}) OVER copies AS conflict
        FROM incoming i WHERE hash(site, id) IN ({repeated})
        WINDOW copies AS (PARTITION BY i.site, i.id ORDER BY {_precedence("i")})
        """
    )
    (repeats, conflicts) = one_row(
        database, "SELECT count(*) FILTER (place > 1), count(*) FILTER (place > 1 AND conflict) FROM ranked"
    )
    if repeats:
        database.execute("DELETE FROM incoming WHERE rowid IN (SELECT line FROM ranked WHERE place > 1)")
    folded.duplicates += repeats
    folded.conflicts += conflicts


def _drop_repeats_of_archived(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, before: Snapshot, folded: Folded
) -> None:
    database.execute("CREATE OR REPLACE TEMP TABLE replaced (site VARCHAR, id VARCHAR, day DATE)")
    touched = [day for (day,) in database.execute("SELECT DISTINCT time::DATE FROM incoming").fetchall()]
    paths = archive_paths(data, before, sorted(dedupe_window(touched)))
    if not paths:
        return
    # By what is stored of an id, so that it need not be put together for every archived
    # event; in two steps, so that DuckDB passes over the row groups in which no id of a
    # client, or no moment of receipt, is one of those that are looked for.
    asked = (
        f"SELECT rowid AS line, site, id, {server_id_random_sql('i')} AS random, {server_id_time_sql('i')} AS at "
        "FROM incoming i"
    )
    meeting = f"SELECT a.*, i.line FROM read_parquet($paths) a JOIN ({asked}) i ON a.site = i.site"
    meetings = (
        f"({meeting} AND a.client_id = i.id UNION ALL {meeting} AND a.random_id = i.random AND a.received = i.at)"
    )
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE met AS
        SELECT a.line, a.site, a.id, a.time::DATE AS day, {_precedence("i")} < {_precedence("a")} AS precedes,
            {_payload("i")} <> {_payload("a")} AS conflict
        FROM {from_archive_sql(meetings, "line")} a JOIN incoming i ON a.line = i.rowid
        """,
        {"paths": [str(path) for path in paths]},
    )
    (repeats, conflicts) = one_row(database, "SELECT count(*), count(*) FILTER (conflict) FROM met")
    if repeats:
        database.execute("DELETE FROM incoming WHERE rowid IN (SELECT line FROM met WHERE NOT precedes)")
        database.execute("INSERT INTO replaced SELECT site, id, day FROM met WHERE precedes")
    folded.duplicates += repeats
    folded.conflicts += conflicts


def archive_paths(data: DataDirectory, snapshot: Snapshot, days: Sequence[date]) -> list[Path]:
    """The archive parts of these days, as far as there are any. Raises PartDamaged."""
    kept = ((day, snapshot.days[day]) for day in days if day in snapshot.days)
    return [path for day, entry in kept for path in verified_parts(data, "archive", day, entry.archive)]
