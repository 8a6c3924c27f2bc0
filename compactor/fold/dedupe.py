"""Deduplication: of lines with one (site, id) the first received counts (P6, P7).

The result does not depend on where a line stands or which pass reads it, so any split
of the same segments into passes ends in the same events. A line that precedes an event
that an earlier pass archived replaces it, and that event's day is written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compactor.context import PassContext
from compactor.fold.working_tables import ArchivedMatches, IncomingLines, NewEvents
from compactor.generations.archive import open_archive, stored_events
from compactor.sql import sql_file
from shared.duckdb_engine import one_row
from shared.event_ids import server_id_random_sql, server_id_time_sql
from shared.generations.snapshot import Snapshot
from shared.lateness import dedupe_window
from shared.schema import CONTENT, CONTEXT
from shared.sql.archive_events import from_archive_sql

if TYPE_CHECKING:
    import duckdb


class _Dropped(NamedTuple):
    """Lines that were deleted from `incoming`, or archived events that were replaced,
    and how many of them conflict.
    """

    repeats: int
    conflicts: int


def deduplicate(context: PassContext, before: Snapshot, incoming: IncomingLines) -> NewEvents:
    """Leave one line of each (site, id) in `incoming`, and none that an archived event
    precedes. Raises PartDamaged.
    """
    if not incoming.segments:
        return NewEvents()
    database = context.database
    within = _drop_repeats_within(database, incoming)
    matches = _match_archive(context, before, incoming)
    _drop_archived(database, matches)
    return NewEvents(
        new=dict(database.execute("SELECT time::DATE, count(*) FROM incoming GROUP BY ALL").fetchall()),
        replaced=dict(database.execute("SELECT day, count(*) FROM replaced_events GROUP BY ALL").fetchall()),
        duplicates=within.repeats + matches.rows,
        conflicts=within.conflicts + matches.conflicts,
    )


def _drop_repeats_within(database: duckdb.DuckDBPyConnection, _incoming: IncomingLines) -> _Dropped:
    rows = sql_file(__file__, "repeated_lines.sql", content=_content("i"), precedence=_precedence("i"))
    database.execute(f"CREATE OR REPLACE TEMP TABLE repeated_lines AS {rows}")
    counts = "count(*) FILTER (place > 1), count(*) FILTER (place > 1 AND conflict)"
    dropped = _Dropped(*one_row(database, f"SELECT {counts} FROM repeated_lines"))
    if dropped.repeats:
        database.execute("DELETE FROM incoming WHERE rowid IN (SELECT line FROM repeated_lines WHERE place > 1)")
    return dropped


def _match_archive(context: PassContext, before: Snapshot, _incoming: IncomingLines) -> ArchivedMatches:
    """Compare `incoming` with the archive of the days on which its events may have been
    counted before.
    """
    database = context.database
    touched = [day for (day,) in database.execute("SELECT DISTINCT time::DATE FROM incoming").fetchall()]
    parts = open_archive(context.data, before, sorted(dedupe_window(touched)))
    if not parts:
        return ArchivedMatches()
    rows = sql_file(
        __file__,
        "archived_matches.sql",
        random=server_id_random_sql("i"),
        received=server_id_time_sql("i"),
        stored=stored_events(parts),
        archived=from_archive_sql("matches", "line"),
        incoming_precedence=_precedence("i"),
        archived_precedence=_precedence("a"),
        incoming_content=_content("i"),
        archived_content=_content("a"),
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE archived_matches AS {rows}")
    return ArchivedMatches(*one_row(database, "SELECT count(*), count(*) FILTER (conflict) FROM archived_matches"))


def _drop_archived(database: duckdb.DuckDBPyConnection, matches: ArchivedMatches) -> None:
    """Of each match keep the one received first: the line, or the archived event."""
    if matches.rows:
        database.execute("DELETE FROM incoming WHERE rowid IN (SELECT line FROM archived_matches WHERE NOT precedes)")
        database.execute("INSERT INTO replaced_events SELECT site, id, day FROM archived_matches WHERE precedes")


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
