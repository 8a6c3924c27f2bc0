"""Deduplication: of lines with one (site, id, sender) the first received counts (P6,
P7).

The result does not depend on where a line stands or which pass reads it, so any split
of the same segments into passes ends in the same events. A line that precedes an event
that an earlier pass archived replaces it, and the archive part of that event is written
again.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compactor.context import PassContext
from compactor.fold.working_tables import ArchivedMatches, IncomingLines, NewEvents
from compactor.generations.archive import OpenedPart, stored_events
from compactor.generations.id_index import ArchivedIds, open_ids
from compactor.sql import count_rows, run_script, sql_file, sql_list
from shared.duckdb_engine import one_row
from shared.event_ids import server_id_sql, server_id_time_sql
from shared.generations.snapshot import Snapshot
from shared.lateness import dedupe_window
from shared.schema import ARCHIVE_COLUMNS, CONTENT, CONTEXT
from shared.sql.archive_events import from_archive_sql, id_number_sql
from shared.sql.texts import keyed_number

if TYPE_CHECKING:
    import duckdb


class _Dropped(NamedTuple):
    """Lines that were deleted from `incoming`, or archived events that were replaced,
    and how many of them conflict.
    """

    repeats: int
    conflicts: int


def deduplicate(context: PassContext, before: Snapshot, incoming: IncomingLines) -> NewEvents:
    """Leave one line of each (site, id, sender) in `incoming`, and none that an
    archived event precedes. Raises PartDamaged.
    """
    return deduplicate_rows(context, before, incoming) if incoming.segments else NewEvents()


def deduplicate_rows(context: PassContext, before: Snapshot, incoming: IncomingLines) -> NewEvents:
    """The same for the rows of `incoming`, wherever they come from. Raises
    PartDamaged.
    """
    database = context.database
    within = _drop_repeats_within(database, incoming)
    touched = [day for (day,) in database.execute("SELECT DISTINCT time::DATE FROM incoming").fetchall()]
    ids = open_ids(context, before, sorted(dedupe_window(touched)))
    archived = _drop_archived(database, _match_archive(database, ids))
    replaced: dict[date, dict[int, int]] = {}
    grouped = "SELECT time::DATE, generation, count(*) FROM replaced_events GROUP BY ALL"
    for day, generation, events in database.execute(grouped).fetchall():
        replaced.setdefault(day, {})[generation] = events
    counts = "SELECT time::DATE, count(*), count(*) FILTER (is_indexed) FROM incoming GROUP BY ALL"
    counted = database.execute(counts).fetchall()
    return NewEvents(
        new={day: events for day, events, _ in counted},
        indexed={day: indexed for day, _, indexed in counted},
        replaced=replaced,
        duplicates=within.repeats + archived.repeats,
        conflicts=within.conflicts + archived.conflicts,
        made_ids=ids.made,
    )


def _drop_repeats_within(database: duckdb.DuckDBPyConnection, _incoming: IncomingLines) -> _Dropped:
    grouped = "SELECT id_number FROM incoming GROUP BY id_number HAVING count(*) > 1"
    database.execute(f"CREATE OR REPLACE TEMP TABLE repeated_numbers AS {grouped}")
    if not count_rows(database, "repeated_numbers"):
        return _Dropped(0, 0)  # as usual in a small pass, of whose time the rest is a tenth
    rows = sql_file(__file__, "repeated_lines.sql", content=_content("i"), precedence=_precedence("i"))
    database.execute(f"CREATE OR REPLACE TEMP TABLE repeated_lines AS {rows}")
    counts = "count(*) FILTER (is_copy), count(*) FILTER (is_copy AND conflict)"
    dropped = _Dropped(*one_row(database, f"SELECT {counts} FROM repeated_lines"))
    if dropped.repeats:
        database.execute("DELETE FROM incoming WHERE rowid IN (SELECT line FROM repeated_lines WHERE is_copy)")
    return dropped


def _match_archive(database: duckdb.DuckDBPyConnection, ids: ArchivedIds) -> ArchivedMatches:
    """Compare `incoming` with the archive of the days on which its events may have been
    counted before.
    """
    _find_places(database, ids)
    parts = _parts_of_places(database, ids)
    if not parts:
        return ArchivedMatches()
    rows = sql_file(
        __file__,
        "archived_matches.sql",
        archived=_archived(parts),
        incoming_precedence=_precedence("i"),
        archived_precedence=_precedence("a"),
        incoming_content=_content("i"),
        archived_content=_content("a"),
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE archived_matches AS {rows}")
    return ArchivedMatches(count_rows(database, "archived_matches"))


def _archived(parts: list[OpenedPart]) -> str:
    """The archived events at `places`."""
    stored = stored_events(parts, "filename", "file_row_number AS file_row")
    at_places = f"(FROM {stored} WHERE file_row IN (SELECT file_row FROM places))"
    return from_archive_sql(at_places, "filename", "file_row")


def _find_places(database: duckdb.DuckDBPyConnection, ids: ArchivedIds) -> None:
    """Fill `places` (line, filename, file_row): archived events with a line's id."""
    database.execute("CREATE OR REPLACE TEMP TABLE places (line BIGINT, filename VARCHAR, file_row BIGINT)")
    if ids.index:
        database.execute(
            "CREATE OR REPLACE TEMP TABLE index_matches AS "
            + sql_file(__file__, "matches_by_index.sql", index=sql_list(ids.index), number=keyed_number("x.number"))
        )
        found = database.execute("SELECT DISTINCT index_file FROM index_matches").fetchall()
        if paths := [ids.index[Path(file)] for (file,) in found]:
            _insert_places(database, "places_by_id.sql", paths, lines="index_matches")
    if ids.parts and count_rows(database, "(FROM incoming WHERE is_server_id LIMIT 1)"):
        _insert_places(database, "places_by_time.sql", [path for _, path in ids.parts])


def _insert_places(database: duckdb.DuckDBPyConnection, name: str, paths: list[Path], **composed: str) -> None:
    text = sql_file(
        __file__,
        name,
        paths=sql_list(paths),
        sought_hash=keyed_number("hash(i.id)"),
        archived_hash=keyed_number("hash(client_id)"),
        archived_id=server_id_sql("received", "random_id"),
        received=server_id_time_sql("i"),
        archived_number=id_number_sql("c.site", "c.client_id" if name == "places_by_id.sql" else "c.id"),
        **composed,
    )
    database.execute(f"INSERT INTO places {text}")


def _parts_of_places(database: duckdb.DuckDBPyConnection, ids: ArchivedIds) -> list[OpenedPart]:
    found = {file for (file,) in database.execute("SELECT DISTINCT filename FROM places").fetchall()}
    return [each for each in ids.parts if str(each[1]) in found]


def _drop_archived(database: duckdb.DuckDBPyConnection, matches: ArchivedMatches) -> _Dropped:
    """Of each match keep the one received first: the line, or the archived event."""
    if not matches.rows:
        return _Dropped(0, 0)
    text = sql_file(__file__, "resolve_matches.sql", columns=", ".join(ARCHIVE_COLUMNS))
    run_script(database, text)
    counts = "count(*), count(*) FILTER (conflict)"
    dropped = _Dropped(*one_row(database, f"SELECT {counts} FROM dropped_lines"))
    replaced = _Dropped(*one_row(database, f"SELECT {counts} FROM replaced_rows"))
    return _Dropped(dropped.repeats + replaced.repeats, dropped.conflicts + replaced.conflicts)


def _content(table: str) -> str:
    """SQL of a text that copies of an event have in common. Copies that differ in it
    conflict.
    """
    return "concat_ws(chr(31), " + ", ".join(f"coalesce({table}.{column}::VARCHAR, '')" for column in CONTENT) + ")"


def _precedence(table: str) -> str:
    """SQL of a text that orders the lines of one id: the first received first, and no
    two different lines equal.
    """
    rest = ", ".join(f"coalesce({table}.{column}::VARCHAR, '')" for column in CONTEXT)
    return f"concat_ws(chr(31), {table}.received::VARCHAR, {table}.time::VARCHAR, {_content(table)}, {rest})"
