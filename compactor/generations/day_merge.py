"""The day merge: once a day got no event for 24 hours, its archive becomes few
clustered parts, and its counters are counted once more.

A pass does one step of one day: it clusters some parts of the archive, or it counts.
So passes go on meanwhile, and memory is bounded however many events the day has.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from datetime import date

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.fold.recount import AllowsQuarters, few_rows
from compactor.generations.archive import archived_events, open_parts, stored_events
from compactor.generations.clustered import clustered
from compactor.generations.id_index import write_ids
from compactor.generations.part_files import write_part
from compactor.generations.part_writer import CLUSTERED_ROWS_MAX, count_whole_day
from shared.duckdb_engine import database_error
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Day, Part, Snapshot
from shared.timestamps import DAY_S, epoch_ms

MERGED_SHARE = 0.9
# Bytes of archive parts that are clustered in one step: sorted, they take many times as
# many in memory.
CLUSTERED_BYTES_MAX = 48 << 20


def merge_finished_day(context: PassContext, before: Snapshot, touched: Container[date]) -> dict[date, Day]:
    """Publish one step of the merge of at most one day. Its events do not change.

    The merge is optional, so it must never fail a pass: a day that is damaged or too
    large for memory is left as it is.
    """
    for day in days_to_merge(before, touched, context.now_ms):
        try:
            return {day: _merge_step(context, before, day)}
        except (PartDamaged, database_error("OutOfMemoryException")) as error:
            context.log.warning("day_merge_failed", day=str(day), reason=str(error)[:1000])
    return {}


def days_to_merge(snapshot: Snapshot, touched: Container[date], now_ms: int) -> Iterator[date]:
    """Days that got no event for 24 hours and are not merged yet."""
    for day, kept in sorted(snapshot.days.items()):
        is_over = day not in touched and not kept.expired and now_ms - epoch_ms(kept.added_at) >= DAY_S * 1000
        if is_over and not is_merged(kept):
            yield day


def is_merged(kept: Day) -> bool:
    """Whether nothing of a day is to be clustered or counted. A day of an earlier
    format that is in one part stays as it is.
    """
    is_earlier = all(part.version == 1 for part in (*kept.archive, *kept.counters))
    return not parts_to_cluster(kept.archive) and (kept.merged or is_earlier)


def parts_to_cluster(parts: Sequence[Part]) -> list[Part]:
    """The next parts of a day that become one: the smallest, up to the bounds.

    One with MERGED_SHARE of their rows keeps them apart, so that a single late event
    does not write its whole day again.
    """
    found: list[Part] = []
    for part in sorted(parts, key=lambda part: part.rows):
        rows = sum(each.rows for each in found) + part.rows
        size = sum(each.bytes for each in found) + part.bytes
        if rows > CLUSTERED_ROWS_MAX or size > CLUSTERED_BYTES_MAX:
            break
        found.append(part)
    rows = sum(part.rows for part in found)
    return found if len(found) > 1 and found[-1].rows < MERGED_SHARE * rows else []


def _merge_step(context: PassContext, before: Snapshot, day: date) -> Day:
    kept, generation = before.days[day], before.generation + 1
    if parts := parts_to_cluster(kept.archive):
        kept = cluster(context, day, kept, parts, generation)
        if kept.merged or parts_to_cluster(kept.archive):
            return kept
    return count_day(context, replace_day(before, day, kept), day, generation)


def replace_day(snapshot: Snapshot, day: date, kept: Day) -> Snapshot:
    return replace(snapshot, days={**snapshot.days, day: kept})


def count_day(
    context: PassContext, snapshot: Snapshot, day: date, generation: int, allows_quarters: AllowsQuarters = few_rows
) -> Day:
    """Publish the counters of a day, counted from its archive."""
    events = archived_events(context.data, snapshot, [day])
    counted = count_whole_day(context, day, snapshot.days[day], events, generation, allows_quarters)
    return replace(counted, merged=True)


def cluster(context: PassContext, day: date, kept: Day, parts: Sequence[Part], generation: int) -> Day:
    """Publish one clustered part in place of these archive parts of a day."""
    opened = open_parts(context.data, "archive", day, parts)
    rows = sum(part.rows for part in parts)
    part = write_part(context, "archive", day, generation, clustered(stored_events(opened)), rows)
    index = write_ids(context, day, generation, [context.data.part("archive", day, generation)])
    gone = {part.generation for part in parts}
    return replace(
        kept,
        archive=(*(each for each in kept.archive if each.generation not in gone), *([part] if part else [])),
        ids=(*(each for each in kept.ids if each.generation not in gone), *([index] if index else [])),
    )
