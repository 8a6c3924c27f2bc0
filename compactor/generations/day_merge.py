"""The day merge: once a day got no event for 24 hours, its archive becomes few
clustered parts, and its counters are counted once more. Its visits are made once the
following day is merged, too.

A step is of one day: it clusters some parts of the archive, it counts, or it makes
visits. A pass that folds does one step, another one those for which it has time. So
passes go on meanwhile, and memory is bounded however many events the day has.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from datetime import date, timedelta

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.fold.recount import AllowsQuarters, few_rows
from compactor.generations.archive import archived_events, open_parts, stored_events
from compactor.generations.clustered import CLUSTERED_ROWS_MAX, write_clustered
from compactor.generations.id_index import write_ids
from compactor.generations.merge_failure import may_merge
from compactor.generations.part_writer import count_whole_day, with_archive_part
from compactor.generations.visit_freshness import days_to_make, with_merged_part
from compactor.generations.visit_parts import make_visits
from shared.generations.snapshot import Day, Part, Snapshot
from shared.timestamps import DAY_S, epoch_ms

MERGED_SHARE = 0.9
# Bytes of archive parts that are clustered in one step, so that new events need not
# wait for long.
CLUSTERED_BYTES_MAX = 48 << 20


def days_to_merge(snapshot: Snapshot, touched: Container[date], now_ms: int) -> Iterator[date]:
    """Days that got no event for 24 hours and are not merged yet, but those whose merge
    has failed and is not to be tried now.
    """
    for day, kept in sorted(snapshot.days.items()):
        is_over = day not in touched and not kept.expired and now_ms - epoch_ms(kept.added_at) >= DAY_S * 1000
        if is_over and not is_merged(kept) and may_merge(kept, now_ms):
            yield day


def next_day(snapshot: Snapshot, touched: Container[date], now_ms: int, merged: Container[date] = ()) -> date | None:
    """The day of which a pass does a step: one to merge, but those that it has
    `merged`, else one whose visits are to be made. A pass that adds to the days around
    it would make them in vain.
    """
    for day in days_to_merge(snapshot, touched, now_ms):
        if day not in merged:
            return day
    for day in days_to_make(snapshot, now_ms, is_merged):
        if not any(day + timedelta(days=shift) in touched for shift in (-1, 0, 1)):
            return day
    return None


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


def merge_step(context: PassContext, before: Snapshot, day: date) -> dict[date, Day]:
    """Publish one step of a day, whose events do not change. Returns it, and the one
    before where that was made of it. Raises PartDamaged.
    """
    kept = before.days[day]
    if kept.archive and kept.visits_of is None and is_merged(kept):
        return {day: make_visits(context, before, day, before.generation + 1)}
    return with_merged_part(before, day, _merge(context, before, day))


def _merge(context: PassContext, before: Snapshot, day: date) -> Day:
    kept, generation = before.days[day], before.generation + 1
    if parts := parts_to_cluster(kept.archive):
        kept = cluster(context, day, kept, parts, generation)
        if kept.merged or parts_to_cluster(kept.archive):
            return replace(kept, merge_failure=None)
    return count_day(context, replace_day(before, day, kept), day, generation)


def replace_day(snapshot: Snapshot, day: date, kept: Day) -> Snapshot:
    return replace(snapshot, days={**snapshot.days, day: kept})


def count_day(
    context: PassContext, snapshot: Snapshot, day: date, generation: int, allows_quarters: AllowsQuarters = few_rows
) -> Day:
    """Publish the counters of a day, counted from its archive."""
    events = archived_events(context.data, snapshot, [day])
    counted = count_whole_day(context, day, snapshot.days[day], events, generation, allows_quarters)
    return replace(counted, merged=True, merge_failure=None)


def cluster(context: PassContext, day: date, kept: Day, parts: Sequence[Part], generation: int) -> Day:
    """Publish one clustered part in place of these archive parts of a day."""
    opened = open_parts(context.data, "archive", day, parts)
    rows = sum(part.rows for part in parts)
    part = write_clustered(context, day, generation, stored_events(opened), rows)
    index = write_ids(context, day, generation, [context.data.part("archive", day, generation)])
    return with_archive_part(kept, parts, part, index)
