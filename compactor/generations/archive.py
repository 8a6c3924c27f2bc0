"""Reading archived events back from the parts that a snapshot references."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from compactor.sql import sql_list
from shared.disk.layout import DataDirectory
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Snapshot
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql


def archive_paths(data: DataDirectory, snapshot: Snapshot, days: Sequence[date]) -> list[Path]:
    """The archive parts of those days that have any. Raises PartDamaged."""
    kept = ((day, snapshot.days[day]) for day in days if day in snapshot.days)
    return [path for day, entry in kept for path in verified_parts(data, "archive", day, entry.archive)]


def archived_events(data: DataDirectory, snapshot: Snapshot, days: Sequence[date]) -> str:
    """SQL of the archived events of these days, with ARCHIVE_COLUMNS. Raises
    PartDamaged.
    """
    paths = archive_paths(data, snapshot, days)
    return from_archive_sql(f"read_parquet({sql_list(paths)})") if paths else empty_relation_sql(ARCHIVE_COLUMNS)
