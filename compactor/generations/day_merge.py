"""A day that nobody adds to any longer gets one archive part, in order: reports by
country pass over most of it.

During the day parts are merged as their events come. To put them in order each time
would cost several times as much.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import duckdb
import msgspec

from compactor.fold.select_segments import days_to_settle
from compactor.generations.part_writer import in_order, sql_list, write_part
from shared.disk.layout import DataDirectory
from shared.generations.part_integrity import PartDamaged, verified_parts
from shared.generations.snapshot import Day, Snapshot
from shared.log import Log


def settle(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    before: Snapshot,
    touched: Collection[date],
    now_ms: int,
    log: Log,
) -> dict[date, Day]:
    """Publish the archive of at most one day as one part; its events and its counters
    stay what they are.

    A pass must not fail for the order in which events stand: a day that is damaged or
    too large is left as it is.
    """
    for day in days_to_settle(before, touched, now_ms):
        try:
            return {day: _settled(database, data, day, before)}
        except (PartDamaged, duckdb.OutOfMemoryException) as error:
            log.warning("day_merge_failed", day=str(day), reason=str(error)[:1000])
    return {}


def _settled(database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, before: Snapshot) -> Day:
    old = before.days[day]
    sql = in_order(f"read_parquet({sql_list(verified_parts(data, 'archive', day, old.archive))})")
    generation, rows = before.generation + 1, sum(part.rows for part in old.archive)
    part = write_part(database, data.part("archive", day, generation), generation, sql, rows)
    return msgspec.structs.replace(old, archive=(part,) if part else ())
