"""Which days have their visits made, which have only their sums, and which are to be
made for a question. Pure.

The visits of a day depend on those that go on from the day before, and so on the days
before that, as far as one of them has late events (made.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Literal

from reports.plan import Days, HostDay, PartOfDay, Parts
from reports.query import Query
from shared.generations.counter_schema import BUCKET_S, SITE
from shared.generations.snapshot import VisitsOf
from shared.sql.visits import FIRST_DAY, LAST_DAY

# A question makes the visits of so many events, each of which costs as much as reading
# it, and of so many days, each of which costs some statements. More are left to the
# passes.
MADE_EVENTS_MAX = 20_000_000
MADE_DAYS_MAX = 100

GONE = "the archive of that time is past its retention, and its visits were not counted before"
GONE_FILTER = "the archive of that time is past its retention, and this question needs its visits"
NOT_MADE = "the visits of too many of these days are not made yet; each pass makes some"
NOT_OF_VISITS = "a visit has no event, path or property of its own: ask by=entry, or without them"
NO_ROOM = "the disk has no room beyond its reserve for the visits that this question needs"

_ONE = timedelta(days=1)
# `kept`: only sums. `made`: as parts. `open`: to be made of the archive. `gone`:
# nothing.
State = Literal["kept", "made", "open", "gone"]


@dataclass(frozen=True)
class VisitPlan:
    """What a question about visits reads: those of the days `asked`, oldest first, and
    of those in `summed` only sums. With a `reason` it has no answer.
    """

    days: VisitDays
    asked: tuple[date, ...] = ()
    summed: frozenset[date] = frozenset()
    reason: str | None = None


def plan_visits(query: Query, given: Days, *, for_events: bool = False) -> VisitPlan:
    """`given`: all days that there are, not only those that the query touches.
    `for_events`: all visits that begin on days of the query, to tell of which of them
    its events are.
    """
    days = VisitDays(given)
    if query.names_no_visit and not for_events:
        return VisitPlan(days, reason=NOT_OF_VISITS)
    first, last = query.start.date(), (query.end - timedelta(microseconds=1)).date()
    asked = tuple(day for day in sorted(days.by_day) if first <= day <= last)
    states = {day: days.state(day) for day in asked}
    if "gone" in states.values():
        return VisitPlan(days, reason=GONE)
    summed = frozenset(day for day in asked if not for_events and _sums_suffice(query, days.by_day[day]))
    if any(states[day] == "kept" and day not in summed for day in asked):
        return VisitPlan(days, reason=GONE_FILTER)
    unmade = [day for day in asked if states[day] == "open"]
    if len(unmade) > MADE_DAYS_MAX or sum(map(days.count_events, unmade)) > MADE_EVENTS_MAX:
        return VisitPlan(days, reason=NOT_MADE)
    return VisitPlan(days, asked, summed)


class VisitDays:
    """What all days have of visits, of the hosts together."""

    def __init__(self, days: Days) -> None:
        self.by_day: dict[date, list[HostDay]] = {}
        for each in days:
            self.by_day.setdefault(each.day, []).append(each)
        self._is_of_one_host = len({each.host for each in days}) < 2

    def state(self, day: date) -> State | None:
        """None for a day without events."""
        hosts = self.by_day.get(day)
        if hosts is None:
            return None
        if not FIRST_DAY < day < LAST_DAY:
            return "gone"
        if any(each.kept.expired for each in hosts):
            return "kept" if len(hosts) == 1 and hosts[0].kept.visits_of and self._is_apart(day) else "gone"
        return "made" if hosts[0].kept.visits_of and self._is_apart(day) else "open"

    def _is_apart(self, day: date) -> bool:
        """Visits that several hosts have made apart may be one."""
        if self._is_of_one_host:
            return True
        around = (each for shift in (-_ONE, timedelta(), _ONE) for each in self.by_day.get(day + shift, ()))
        return len({each.host for each in around}) == 1

    @cached_property
    def _open(self) -> list[date]:
        return [day for day in sorted(self.by_day) if self.state(day) == "open"]

    def open_before(self, day: date) -> date | None:
        """The last day before that is open, with only days between that are made: what
        it has may reach this one.
        """
        place = bisect_left(self._open, day)
        if not place:
            return None
        found, each = self._open[place - 1], day - _ONE
        while each > found and self.state(each) == "made":
            each -= _ONE
        return found if each == found else None

    def made(self, day: date) -> VisitsOf | None:
        return self.by_day[day][0].kept.visits_of if self.state(day) == "made" else None

    def count_events(self, day: date) -> int:
        return sum(part.rows for each in self.by_day.get(day, ()) for part in each.kept.archive)

    def events(self, day: date) -> Parts:
        return _parts("archive", self.by_day.get(day, ()))

    def sessions(self, day: date) -> Parts:
        return _parts("sessions", self.by_day.get(day, ()))

    def sums(self, day: date) -> Parts:
        return _parts("visits", self.by_day.get(day, ()))


def _sums_suffice(query: Query, hosts: list[HostDay]) -> bool:
    """Whether sums by quarter of an hour and site answer a question."""
    is_aligned = query.start.timestamp() % BUCKET_S == 0 == query.end.timestamp() % BUCKET_S
    asks_site = query.site is not None or query.by == SITE
    is_capped = any(each.kept.visits_of and each.kept.visits_of.capped for each in hosts)
    if query.conditions or query.is_of_visits or not is_aligned:
        return False
    return query.by in {None, SITE} and not (asks_site and is_capped)


def _parts(kind: Literal["archive", "sessions", "visits"], days: Iterable[HostDay]) -> Parts:
    return tuple(PartOfDay(kind, each.day, part, each.host) for each in days for part in getattr(each.kept, kind))
