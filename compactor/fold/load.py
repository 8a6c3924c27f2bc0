"""Loading: the lines of segments become rows of the table `incoming`, with the parts of
their URLs and user agents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compactor.fold.verify_segments import VerifiedSegment
from compactor.fold.working_tables import IncomingLines, create_working_tables
from compactor.sql import sql_file
from shared.disk.layout import COMPRESSED_SUFFIXES
from shared.duckdb_engine import one_row
from shared.event_ids import is_server_id_sql, server_id_time_sql
from shared.host_names import own_hosts
from shared.schema import INCOMING_COLUMNS, LINE_COLUMNS, REQUIRED
from shared.segments.line import LINE_MAX_BYTES, SCHEMA_VERSION, newer_line
from shared.sql.archive_events import id_number_sql
from shared.sql.texts import TextNumbers, by_numbers

if TYPE_CHECKING:
    import duckdb


class LinesDoNotParse(Exception):
    """DuckDB read something else than the lines that were written. Verify each line,
    then load again.
    """


def load_lines(
    database: duckdb.DuckDBPyConnection, segments: Sequence[VerifiedSegment], sites: tuple[str, ...]
) -> IncomingLines:
    """Fill `incoming` from the lines of segments; referrers on `sites` are the site's
    own. Raises LinesDoNotParse and DataFromNewerVersion.
    """

    def load(numbers: TextNumbers) -> bool:
        create_working_tables(database, numbers)
        _insert_lines(database, segments, sites, numbers)
        return _add_user_agents(database, numbers)

    by_numbers(load)
    return IncomingLines(tuple(segments))


def load_events(database: duckdb.DuckDBPyConnection, events: str) -> IncomingLines:
    """Fill `incoming` from a relation of events with ARCHIVE_COLUMNS, which were folded
    before.
    """
    columns = ", ".join(("NULL AS v", *INCOMING_COLUMNS))

    def load(numbers: TextNumbers) -> bool:
        create_working_tables(database, numbers)
        database.execute(_insert_sql(f"SELECT {columns} FROM {events}", numbers))
        return _add_user_agents(database, numbers)

    by_numbers(load)
    return IncomingLines()


def _insert_sql(rows: str, numbers: TextNumbers) -> str:
    made = [numbers.number("ua"), id_number_sql("site", "id"), is_server_id_sql("rows")]
    made.append(f"{server_id_time_sql('rows')} IS DISTINCT FROM received")
    made.append("false")
    return f"INSERT INTO incoming SELECT *, {', '.join(made)} FROM ({rows}) rows"


def _insert_lines(
    database: duckdb.DuckDBPyConnection,
    segments: Sequence[VerifiedSegment],
    sites: tuple[str, ...],
    numbers: TextNumbers,
) -> None:
    files = [str(each.path) for each in segments if each.lines]
    if files:
        _read_lines(database, files, sites, numbers)
    expected = sum(each.lines for each in segments)
    complete = " AND ".join(f"{name} IS NOT NULL" for name in ("v", *REQUIRED))
    (found, placed, newest) = one_row(database, f"SELECT count(*), count(*) FILTER ({complete}), max(v) FROM incoming")
    if newest is not None and newest > SCHEMA_VERSION:
        raise newer_line(newest)
    if found != expected or placed != expected:
        raise LinesDoNotParse(f"{expected} lines were written, {found} were read, {placed} of them are events")


def _read_lines(
    database: duckdb.DuckDBPyConnection, files: list[str], sites: tuple[str, ...], numbers: TextNumbers
) -> None:
    import duckdb

    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in {"v": "INTEGER", **LINE_COLUMNS}.items())
    lines = (
        "SELECT * REPLACE (props::VARCHAR AS props, CASE WHEN v >= 2 THEN coalesce(sender, 'page') END AS sender) "
        f"FROM read_json($files, format = 'newline_delimited', columns = {{{columns}}}, "
        f"maximum_object_size = {LINE_MAX_BYTES * 4}, hive_partitioning = false)"
    )
    rows = sql_file(__file__, "url_parts.sql", lines=lines)
    try:
        database.execute(_insert_sql(rows, numbers), {"files": files, "sites": own_hosts(sites)})
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        raise LinesDoNotParse(str(error)) from error
    except duckdb.IOException as error:
        if not any(file.endswith(COMPRESSED_SUFFIXES) for file in files):
            raise
        # DuckDB does not inflate everything that gzip and zstd do, such as zeros at the
        # end.
        raise LinesDoNotParse(str(error)) from error


def _add_user_agents(database: duckdb.DuckDBPyConnection, numbers: TextNumbers) -> bool:
    """Parse each distinct user agent once. Returns whether two of them share a
    number.
    """
    distinct = database.execute(
        f"SELECT agent_number, min(ua), {numbers.is_ambiguous('ua')} FROM incoming "
        "WHERE ua IS NOT NULL GROUP BY agent_number"
    ).fetchall()
    if not distinct:
        return False
    # Imported here: the parsers' rules take 50 MiB, which a compactor without events to
    # fold does not need.
    from compactor.fold.user_agents import parse_user_agent

    parsed = [(number, *parse_user_agent(ua)[1:]) for number, ua, _ in distinct]
    columns = [list(column) for column in zip(*parsed, strict=True)]
    database.execute(
        f"INSERT INTO user_agents SELECT unnest($1::{numbers.type}[]), unnest($2::VARCHAR[]), unnest($3::VARCHAR[]), "
        "unnest($4::VARCHAR[]), unnest($5::BOOLEAN[])",
        columns,
    )
    return any(is_ambiguous for _, _, is_ambiguous in distinct)
