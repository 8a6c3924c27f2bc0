"""Which days have their visits made, which have only their sums, and which are to be
made for a question. Pure.

The visits of a day depend on those that go on from the day before. So where that one is
not made, it is made for the question, too, though nothing of it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal, NamedTuple

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
NOT_OF_VISITS = "a visit has no event, path, property or URL of its own: ask by=entry, or without them"

_ONE = timedelta(days=1)
# `kept`: only sums. `made`: as parts. `open`: to be made of the archive. `gone`:
# nothing.
_State = Literal["kept", "made", "open", "gone"]


class Piece(NamedTuple):
    """A day of a question. `made`: of what its parts were made, None without any; then
    it is made of `own` and `following`, events of the day and the next. `is_asked`:
    its visits are; otherwise only those that go on.
    """

    day: date
    made: VisitsOf | None
    sessions: Parts
    own: Parts
    following: Parts
    is_asked: bool


@dataclass(frozen=True)
class VisitPlan:
    """What a question about visits reads: sums, and visits of `pieces`, oldest first.
    `before`: sessions of days before pieces. With a `reason` it has no answer.
    """

    sums: Parts = ()
    pieces: tuple[Piece, ...] = ()
    before: Mapping[date, Parts] = field(default_factory=dict)
    reason: str | None = None


def plan_visits(query: Query, days: Days) -> VisitPlan:
    """`days`: all that there are, not only those that the query touches."""
    if query.names_no_visit:
        return VisitPlan(reason=NOT_OF_VISITS)
    found = _Found(days)
    first, last = query.start.date(), (query.end - timedelta(microseconds=1)).date()
    asked = [day for day in sorted(found.by_day) if first <= day <= last]
    states = {day: found.state(day) for day in asked}
    if "gone" in states.values():
        return VisitPlan(reason=GONE)
    summed = [day for day in asked if states[day] != "open" and _sums_suffice(query, found.by_day[day])]
    if any(states[day] == "kept" and day not in summed for day in asked):
        return VisitPlan(reason=GONE_FILTER)
    needed = found.with_days_before(asked)
    unmade = [day for day in needed if found.state(day) == "open"]
    if len(unmade) > MADE_DAYS_MAX or sum(map(found.count_events, unmade)) > MADE_EVENTS_MAX:
        return VisitPlan(reason=NOT_MADE)
    # A day that follows one to be made may have to be made, too.
    by_rows = [day for day in sorted(needed) if day not in summed or day - _ONE in unmade]
    return VisitPlan(
        sums=_parts("visits", (each for day in summed if day not in by_rows for each in found.by_day[day])),
        pieces=tuple(found.piece(day, is_asked=day in states) for day in by_rows),
        before={day: found.sessions(day - _ONE) for day in by_rows},
    )


class _Found:
    def __init__(self, days: Days) -> None:
        self.by_day: dict[date, list[HostDay]] = {}
        for each in days:
            self.by_day.setdefault(each.day, []).append(each)

    def state(self, day: date) -> _State | None:
        """None for a day without events."""
        hosts = self.by_day.get(day)
        if hosts is None:
            return None
        if not FIRST_DAY < day < LAST_DAY:
            return "gone"
        if any(each.kept.expired for each in hosts):
            return "kept" if len(hosts) == 1 and hosts[0].kept.visits_of and self._is_of_one_host(day) else "gone"
        return "made" if hosts[0].kept.visits_of and self._is_of_one_host(day) else "open"

    def _is_of_one_host(self, day: date) -> bool:
        """Visits that several hosts have made apart may be one."""
        around = (each for shift in (-_ONE, timedelta(), _ONE) for each in self.by_day.get(day + shift, ()))
        return len({each.host for each in around}) == 1

    def with_days_before(self, asked: Iterable[date]) -> set[date]:
        """Days that are asked and not over, and those before that their visits depend
        on.
        """
        needed: set[date] = set()
        for each in asked:
            day = each
            if self.state(day) == "kept":
                continue
            needed.add(day)
            while day - _ONE not in needed and self._must_be_known(day - _ONE):
                day -= _ONE
                needed.add(day)
        return needed

    def _must_be_known(self, day: date) -> bool:
        is_after_open = self.state(day) == "made" and self.state(day - _ONE) == "open"
        return self.state(day) == "open" or is_after_open

    def count_events(self, day: date) -> int:
        return sum(part.rows for each in self.by_day.get(day, ()) for part in each.kept.archive)

    def piece(self, day: date, *, is_asked: bool) -> Piece:
        made = self.by_day[day][0].kept.visits_of if self.state(day) == "made" else None
        own, following = (_parts("archive", self.by_day.get(each, ())) for each in (day, day + _ONE))
        return Piece(day, made, self.sessions(day), own, following, is_asked)

    def sessions(self, day: date) -> Parts:
        return _parts("sessions", self.by_day[day]) if self.state(day) == "made" else ()


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
