"""The events of a day as a rebuild counts them: from the retained log as it is folded
now, and from the archive what the log does not have.

Where unreferenced parts are accepted (unreferenced_parts.py), several parts may have
the same event; one copy counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import duckdb

from compactor.context import PassContext
from compactor.generations.archive import open_archive, stored_events
from compactor.repair.replay import replay
from compactor.repair.unreferenced_parts import AcceptedParts
from compactor.sql import sql_file, sql_list
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot
from shared.lateness import dedupe_window
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql, id_number_sql

_REBUILD_DAY = sql_file(__file__, "rebuild_day.sql")


class Generation(NamedTuple):
    """A data directory, and the snapshot of its parts that is read."""

    data: DataDirectory
    snapshot: Snapshot


class Sources(NamedTuple):
    """Where the events of a rebuild come from.

    `archive`: the accepted parts; `unreferenced`: those of them that no snapshot
    references. `folded`: the replay of segments that the snapshot has folded.
    `unfolded`: the replay of the others. The next pass counts those events, so they
    must not be counted from an unreferenced part as well. `has_repeats`: several parts
    may have the same event.
    """

    archive: Generation
    unreferenced: frozenset[Path]
    folded: Generation
    unfolded: Generation
    has_repeats: bool


def open_sources(context: PassContext, before: Snapshot, accepted: AcceptedParts, *, is_reconstructed: bool) -> Sources:
    """Replay the retained log: the folded segments, and the unfolded ones if there are
    unreferenced parts.
    """
    folded = DataDirectory(context.scratch / "folded")
    unfolded = DataDirectory(context.scratch / "unfolded")
    of_folded = replay(context, folded, before.has_folded)
    of_unfolded = Snapshot()
    if accepted.unreferenced:
        of_unfolded = replay(context, unfolded, lambda name: not before.has_folded(name))
    return Sources(
        Generation(context.data, accepted.snapshot),
        accepted.unreferenced,
        Generation(folded, of_folded),
        Generation(unfolded, of_unfolded),
        has_repeats=is_reconstructed or bool(accepted.unreferenced),
    )


def collect_day(database: duckdb.DuckDBPyConnection, sources: Sources, day: date) -> None:
    """Create the view `rebuilt`: a day's events from the retained log, and the archived
    ones that it does not have. Its table `kept_rows` says where each is, with the
    number of its id, and whether only unreferenced parts have it.

    Of an event in both, the copy received first counts, as in any fold; if they are
    equal, the one from the log. Whole events are not compared, nor copied: only the
    columns that identify them need fit into memory.
    """
    window = sorted(dedupe_window([day]))
    views = {
        "log_events": _events(sources.folded, [day]),
        "log_events_nearby": _events(sources.folded, window),
        "part_events": _part_events(sources, [day]),
        "part_events_nearby": _part_events(sources, window),
        "part_repeats": _part_events(sources, window if sources.has_repeats else []),
        "yielded_events": _events(sources.archive, window, "yielded"),
    }
    for name, source in views.items():
        database.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {source}")
    database.execute(_REBUILD_DAY)
    events = f"FROM {_stored_at(sources.folded, [day])} UNION ALL FROM {_stored_at(sources.archive, [day])}"
    same_row = "e.file_row = k.file_row AND e.filename = k.filename"
    columns = ", ".join(f"e.{name}" for name in ARCHIVE_COLUMNS)
    rebuilt = f"SELECT {columns} FROM ({events}) e SEMI JOIN kept_rows k ON {same_row}"
    database.execute(f"CREATE OR REPLACE TEMP VIEW rebuilt AS {rebuilt}")


def _part_events(sources: Sources, days: Sequence[date]) -> str:
    """SQL of the events of the accepted parts, each with whether its part is
    unreferenced. An event of an unreferenced part that the next pass counts is left
    out.
    """
    events = _events(sources.archive, days)
    unreferenced = [path for path in sources.unreferenced if date.fromisoformat(path.parent.name) in days]
    if not unreferenced:
        return f"(SELECT *, false AS is_unreferenced FROM {events})"
    unfolded = _events(sources.unfolded, sorted(dedupe_window(days)))
    is_copy = "u.id_number = p.id_number AND u.site = p.site AND u.id = p.id AND u.received <= p.received"
    may_be_of_one_sender = "(u.sender = p.sender OR u.sender IS NULL OR p.sender IS NULL)"
    counted = f"is_unreferenced AND EXISTS (FROM {unfolded} u WHERE {is_copy} AND {may_be_of_one_sender})"
    is_unreferenced = f"list_contains({sql_list(unreferenced)}, filename) AS is_unreferenced"
    return f"(SELECT *, {is_unreferenced} FROM {events} p WHERE NOT ({counted}))"


def _events(source: Generation, days: Iterable[date], kind: str = "archive") -> str:
    """SQL of the archived events of these days, each with its place and the number of
    its id; with the kind `yielded`, of those that another host counts.
    """
    return f"(SELECT *, {id_number_sql('site', 'id')} AS id_number FROM {_stored_at(source, days, kind)})"


def _stored_at(source: Generation, days: Iterable[date], kind: str = "archive") -> str:
    """SQL of the archived events of these days, each with its file and its row."""
    opened = open_archive(source.data, source.snapshot, days, kind)
    if not opened:
        return empty_relation_sql({**ARCHIVE_COLUMNS, "filename": "VARCHAR", "file_row": "BIGINT"})
    stored = stored_events(opened, "filename", "file_row_number AS file_row")
    return from_archive_sql(stored, "filename", "file_row")
