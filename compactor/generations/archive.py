"""Reading archived events back from the parts that a snapshot references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from compactor.sql import sql_list
from shared.disk.layout import DataDirectory
from shared.generations.part_integrity import verified_part
from shared.generations.snapshot import Part, Snapshot
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql, stored_events_sql

# A part with the path of its file, once that is verified.
OpenedPart = tuple[Part, Path]


def open_archive(
    data: DataDirectory, snapshot: Snapshot, days: Iterable[date], kind: str = "archive"
) -> list[OpenedPart]:
    """The archive parts of those days that have any; with the kind `yielded`, those of
    events that another host counts. Raises PartDamaged.
    """
    kept = ((day, snapshot.days[day]) for day in days if day in snapshot.days)
    return [each for day, entry in kept for each in open_parts(data, kind, day, getattr(entry, kind))]


def open_parts(data: DataDirectory, kind: str, day: date, parts: Iterable[Part]) -> list[OpenedPart]:
    """Raises PartDamaged."""
    return [(part, verified_part(data, kind, day, part)) for part in parts]


def stored_events(parts: Iterable[OpenedPart], *more: str) -> str:
    """SQL of the events of archive parts, with STORED_COLUMNS and `more`."""
    return stored_events_sql(lists_by_version(parts), *more)


def lists_by_version(parts: Iterable[OpenedPart]) -> dict[int, str]:
    """By version of the parts, SQL of a list of their paths."""
    paths: dict[int, list[Path]] = {}
    for part, path in parts:
        paths.setdefault(part.version, []).append(path)
    return {version: sql_list(found) for version, found in paths.items()}


def archived_events(data: DataDirectory, snapshot: Snapshot, days: Sequence[date]) -> str:
    """SQL of the archived events of these days, with ARCHIVE_COLUMNS. Raises
    PartDamaged.
    """
    return events_of(open_archive(data, snapshot, days))


def events_of(parts: Sequence[OpenedPart], *more: str) -> str:
    """SQL of the events of archive parts, with ARCHIVE_COLUMNS and `more`, which are
    VARCHAR.
    """
    if not parts:
        return empty_relation_sql({**ARCHIVE_COLUMNS, **dict.fromkeys(more, "VARCHAR")})
    return from_archive_sql(stored_events(parts, *more), *more)
