"""The days of several hosts as one question reads them. Pure.

An id counts once over all hosts, so that the sum over the parts of all of them is the
truth. A day that several have is read in a form that all their counters can give.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from msgspec.structs import replace

from reports.plan import HostDay, days_of
from reports.query import Query
from shared.generations.counter_schema import ALL_COUNTED, COUNTED
from shared.generations.snapshot import Day, Snapshot

# What a host has dropped, counters and all: whatever is asked of it has no answer.
DROPPED = Day("", uncounted=ALL_COUNTED, expired=True)


def combined_days(snapshots: Sequence[Snapshot], query: Query) -> list[HostDay]:
    """The days that a query touches; the number of a host is its place among
    `snapshots`.
    """
    found = [each for host, snapshot in enumerate(snapshots) for each in days_of(snapshot, query, host)]
    combined: list[HostDay] = []
    for day, same in groupby(sorted(found, key=lambda each: (each.day, each.host)), lambda each: each.day):
        present = _in_one_form(list(same))
        holders = {each.host for each in present}
        dropped = [n for n, snapshot in enumerate(snapshots) if snapshot.dropped_days.get(day) and n not in holders]
        combined += [*present, *(HostDay(day, DROPPED, host) for host in dropped)]
    return combined


def all_days_of(snapshots: Sequence[Snapshot], query: Query) -> list[HostDay]:
    """All days of the hosts, each as it has them, and those that one of them has
    dropped, of those that a query touches.
    """
    first, last = query.start.date(), query.end.date()
    found = [HostDay(day, kept, host) for host, snapshot in enumerate(snapshots) for day, kept in snapshot.days.items()]
    have = {day for day, _, _ in found}
    dropped = (
        HostDay(day, DROPPED, host)
        for host, snapshot in enumerate(snapshots)
        for day, events in snapshot.dropped_days.items()
        if events and day in have and first <= day <= last and day not in snapshot.days
    )
    return [*found, *dropped]


def _in_one_form(same: list[HostDay]) -> list[HostDay]:
    """The same day of several hosts. A dimension that one of them has not counted by
    all its values comes from the archives: what is `(other)` there another may have by
    name. Rows of a day are cut at the same midnights, or not read.
    """
    if len(same) == 1:
        return same
    days = [each.kept for each in same]
    uncounted = {name for day in days for name in (*day.uncounted, *day.capped)}
    if len({day.zone for day in days}) > 1:
        uncounted |= {name for name in COUNTED if not all(name in day.quarters for day in days)}
    names, zone = tuple(sorted(uncounted)), days[0].zone
    return [each._replace(kept=replace(each.kept, uncounted=names, capped=(), zone=zone)) for each in same]
