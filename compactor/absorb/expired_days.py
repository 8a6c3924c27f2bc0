"""A day whose archive one of both has deleted: its counters add up. Numbers of visitors
that both kept of a calendar day do not, so they are unknown from then on, as in a
report over both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from datetime import UTC, date, timedelta

from msgspec.structs import replace

from compactor.absorb.theirs import Theirs
from compactor.context import PassContext
from compactor.generations.archive import open_parts
from compactor.generations.counter_parts import merge_counters, stored_counters, sum_counters
from compactor.generations.day_merge import count_day
from compactor.retention.apply import few_rows_to_keep
from compactor.sql import sql_file, sql_texts
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.counter_schema import DAY_ROWS_SUFFIX
from shared.generations.day_cuts import day_cuts
from shared.generations.snapshot import Day, Snapshot


class DaysDiffer(UsageError):
    """A day cannot be merged exactly. Nothing has changed."""

    def __init__(self, day: date, reason: str) -> None:
        super().__init__(day, reason)
        self.day, self.reason = day, reason

    def __str__(self) -> str:
        return f"{self.day} cannot be absorbed: {self.reason}"


def expired_day(context: PassContext, before: Snapshot, theirs: Theirs, day: date) -> Day:
    """Publish the counters of a day with those of the other. Raises PartDamaged and
    DaysDiffer.
    """
    ours, kept = before.days.get(day), theirs.snapshot.days.get(day)
    if kept and not kept.expired:
        staged = dataclasses.replace(context, data=theirs.data)
        kept = count_day(staged, theirs.snapshot, day, before.generation + 1, few_rows_to_keep)
    _refuse(ours, kept, day)
    found = [each for each in (ours, kept) if each]
    quarters = set.intersection(*(set(each.quarters) for each in found))
    rows = []
    if ours:
        rows.append(_rows(context.data, day, ours, quarters, theirs.snapshot.days))
    if kept:
        rows.append(_rows(theirs.data, day, kept, quarters, before.days))
    merged = replace(
        found[0],
        added_at=max(each.added_at for each in found),
        archive=ours.archive if ours else (),
        ids=ours.ids if ours else (),
        sessions=(),
        visits=(),
        visits_of=None,
        yielded=(),
        counters=(),
        quarters=tuple(name for name in found[0].quarters if name in quarters),
        uncounted=tuple(dict.fromkeys(name for each in found for name in each.uncounted)),
        capped=tuple(dict.fromkeys(name for each in found for name in each.capped)),
        expired=True,
        visitor_zone=next((each.visitor_zone for each in found if each.visitor_zone), None),
        merge_failure=None,
    )
    sum_counters(context.database, f"({' UNION ALL '.join(rows)})", merged.uncounted)
    context.database.execute("CREATE OR REPLACE TEMP TABLE summed_counters AS FROM merged_counters")
    counters = merge_counters(context, day, merged, "(FROM summed_counters)", before.generation + 1)
    return replace(merged, counters=counters)


def kept_visitors_meet(before: Snapshot, theirs: Theirs) -> Iterator[date]:
    """Days of this directory alone whose kept visitors may be of a calendar day of
    which the other has events.
    """
    near = {day + timedelta(days=shift) for day in theirs.snapshot.days for shift in (-1, 1)}
    for day, kept in before.days.items():
        is_cut = kept.expired and len(day_cuts(day, kept.visitor_zone or "UTC")) > 1
        if is_cut and day in near and day not in theirs.snapshot.days:
            yield day


def refuse_dropped_days(before: Snapshot, theirs: Theirs) -> None:
    """A day that one has, and of which the other has deleted all, would look as if it
    was whole. Raises DaysDiffer.
    """
    for day in sorted(before.dropped_days.keys() & theirs.snapshot.days.keys()):
        raise DaysDiffer(day, "its counters are deleted here, and not there: absorb it on another host")
    for day in sorted(theirs.snapshot.dropped_days.keys() & before.days.keys()):
        raise DaysDiffer(day, "its counters are deleted there, and not here: absorb it on another host")


def _refuse(ours: Day | None, kept: Day | None, day: date) -> None:
    if ours and kept and not ours.expired:
        raise DaysDiffer(
            day,
            "its archive is deleted there, and not here: let retention delete it here, or absorb it on another host",
        )
    if ours and kept and ours.zone != kept.zone:
        raise DaysDiffer(day, f"its counters are cut by {kept.zone}, and here by {ours.zone}")
    if kept and kept.expired and kept.archive:
        raise DaysDiffer(day, "its archive is deleted in part: absorb it on another host, or leave it retired")


def _rows(data: DataDirectory, day: date, kept: Day, quarters: set[str], others: Collection[date]) -> str:
    """SQL of the counters of a day: without visitors of calendar days of which the
    other has events, and by day what not both count by quarter of an hour.
    """
    by_day = sql_texts(name for name in kept.quarters if name not in quarters)
    cuts = ", ".join(f"TIMESTAMP '{cut.astimezone(UTC):%Y-%m-%d %H:%M:%S}'" for cut in day_cuts(day, kept.zone))
    days = ", ".join(f"DATE '{each}'" for each in others)
    return sql_file(
        __file__,
        "counters_of_day.sql",
        counters=stored_counters(open_parts(data, "counters", day, kept.counters)),
        by_day=f"{by_day}::VARCHAR[]",
        suffix=DAY_ROWS_SUFFIX,
        cuts=f"[{cuts}]",
        others=f"[{days}]::DATE[]",
    )
