"""The events of a day as a rebuild counts them: of the retained log as it is folded
now, and of the archive what that lacks.

Where parts that no snapshot names are believed (salvage.py), an event may stand in
several parts: one copy of it counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb

from compactor.context import PassContext
from compactor.generations.archive import archive_paths
from compactor.repair.replay import refold
from compactor.repair.unreferenced_parts import Salvaged
from compactor.sql import sql_list
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot
from shared.lateness import dedupe_window
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql

COLUMNS = ", ".join(ARCHIVE_COLUMNS)
_WITH_FILE = {**ARCHIVE_COLUMNS, "filename": "VARCHAR"}


class Folded(NamedTuple):
    """Segments folded again: where, and the snapshot of that."""

    data: DataDirectory
    snapshot: Snapshot


class Sources(NamedTuple):
    """All that events of a rebuild come from.

    `log` are the segments that the snapshot has folded. `waiting` are those that it has
    not: what they hold the next pass counts, so that it is not taken from a part that
    no snapshot names. `has_repeats` says that parts may repeat events.
    """

    archive: Folded
    unnamed: frozenset[Path]
    log: Folded
    waiting: Folded
    has_repeats: bool


def make_sources(context: PassContext, before: Snapshot, salvaged: Salvaged, *, is_adopted: bool) -> Sources:
    """Fold the retained log again, in two: what the snapshot has folded and, where it
    matters, what it has not.
    """
    refolded, waiting = DataDirectory(context.scratch / "refolded"), DataDirectory(context.scratch / "waiting")
    folded = refold(context, refolded, before.has_folded)
    not_folded = Snapshot()
    if salvaged.unnamed:
        not_folded = refold(context, waiting, lambda name: not before.has_folded(name))
    return Sources(
        Folded(context.data, salvaged.snapshot),
        salvaged.unnamed,
        Folded(refolded, folded),
        Folded(waiting, not_folded),
        is_adopted or bool(salvaged.unnamed),
    )


def make_rebuilt(database: duckdb.DuckDBPyConnection, sources: Sources, day: date) -> None:
    """Make the table `rebuilt`: a day's events as folded now, and the archived ones
    that the retained log does not hold.

    Of an event both in the log and in the archive the copy received first counts, as in
    any fold; the refolded one if equal. `is_unnamed` is true of those that only parts
    hold which no snapshot names.
    """
    near = sorted(dedupe_window([day]))
    # Of repeats the copy received first stays, of the newest part that has it.
    first = "(e.received, e.time, o.filename) < (o.received, o.time, e.filename)"
    is_repeat = f"FROM {_believed(sources, near)} e WHERE e.site = o.site AND e.id = o.id AND {first}"
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE rebuilt AS
        SELECT {COLUMNS}, false AS is_unnamed FROM {_of(sources.log, [day])} r WHERE NOT EXISTS (
            FROM {_believed(sources, near)} b WHERE b.site = r.site AND b.id = r.id AND b.received < r.received)
        UNION ALL
        SELECT {COLUMNS}, is_unnamed FROM {_believed(sources, [day])} o WHERE NOT EXISTS (
            FROM {_of(sources.log, near)} n WHERE n.site = o.site AND n.id = o.id AND n.received <= o.received)
        {f"AND NOT EXISTS ({is_repeat})" if sources.has_repeats else ""}
        """
    )


def _believed(sources: Sources, days: list[date]) -> str:
    """SQL of the events of the parts that are believed, each with whether no snapshot
    names its part.
    """
    events = _of(sources.archive, days)
    unnamed = [path for path in sources.unnamed if date.fromisoformat(path.parent.name) in days]
    if not unnamed:
        return f"(SELECT *, false AS is_unnamed FROM {events})"
    waits = f"FROM {_of(sources.waiting, sorted(dedupe_window(days)))} w WHERE w.site = u.site AND w.id = u.id"
    return (
        f"(SELECT *, list_contains({sql_list(unnamed)}, filename) AS is_unnamed FROM {events} u "
        f"WHERE NOT (is_unnamed AND EXISTS ({waits} AND w.received <= u.received)))"
    )


def _of(folded: Folded, days: Iterable[date]) -> str:
    """SQL of the archived events of these days, each with the file that it is from."""
    paths = archive_paths(folded.data, folded.snapshot, list(days))
    return from_archive_sql(f"read_parquet({sql_list(paths)})", "filename") if paths else empty_relation_sql(_WITH_FILE)
