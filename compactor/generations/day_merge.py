"""A finished day gets one archive part, clustered: reports by country then read little
of it.

During the day parts are merged as their events come. Clustering them each time would
cost several times as much.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from datetime import date

import msgspec

from compactor.context import PassContext
from compactor.generations.archive import open_parts, stored_events
from compactor.generations.part_writer import clustered, write_part
from shared.duckdb_engine import database_error
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Day, Snapshot
from shared.timestamps import DAY_S, epoch_ms

MERGED_SHARE = 0.9


def merge_finished_day(context: PassContext, before: Snapshot, touched: Container[date]) -> dict[date, Day]:
    """Publish the archive of at most one day as one part. Its events and its counters
    do not change.

    Sorting is optional, so it must never fail a pass: a day that is damaged or too
    large for memory is left as it is.
    """
    for day in days_to_merge(before, touched, context.now_ms):
        try:
            return {day: _merged(context, before, day)}
        except (PartDamaged, database_error("OutOfMemoryException")) as error:
            context.log.warning("day_merge_failed", day=str(day), reason=str(error)[:1000])
    return {}


def days_to_merge(snapshot: Snapshot, touched: Container[date], now_ms: int) -> Iterator[date]:
    """Days that got no event for 24 hours and are still split: several archive parts,
    none with MERGED_SHARE of the rows.

    The share keeps a single late event from having its whole day written again.
    """
    for day, kept in sorted(snapshot.days.items()):
        rows = [part.rows for part in kept.archive]
        is_divided = len(rows) > 1 and max(rows) < MERGED_SHARE * sum(rows)
        if is_divided and day not in touched and now_ms - epoch_ms(kept.added_at) >= DAY_S * 1000:
            yield day


def _merged(context: PassContext, before: Snapshot, day: date) -> Day:
    old = before.days[day]
    sql = clustered(stored_events(open_parts(context.data, "archive", day, old.archive)))
    rows = sum(part.rows for part in old.archive)
    part = write_part(context, "archive", day, before.generation + 1, sql, rows)
    return msgspec.structs.replace(old, archive=(part,) if part else ())
