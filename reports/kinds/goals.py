"""Conversions: events that match the filter of a goal, the visitors who had one, their
share of all visitors, and what the events are worth.

Which goals there are comes with the question (`goals`), so that equal questions have
equal answers: who asks reads goals.json for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from reports.dimensions import is_computed
from reports.filters import Condition, event_filter
from reports.kinds.kind_query import KindQuery, Parameters, common_query
from reports.measures.values import TOO_LARGE, exact_sum
from reports.plan import Days, Parts, Selection, archive_scan
from reports.query_error import QueryError
from reports.rows import EXPIRED_FILTER, Fetched, Row, local_time
from shared.named_filters import ENTRIES_MAX, NamedFilter

OWN = ("goal", "goals")
COMMON = ("from", "to", "tz", "interval", "event", "site", "filter", "bots", "scope")
# What a client may ask besides COMMON.
ASKED = ("goal",)
ROWS_MAX = 10_000
# Of the filters of all goals that one report answers: each costs for every event.
COMPARISONS_MAX = 500
NO_GOALS = "there are no goals"
_INVALID = "its filter is none of a report; change or delete this goal"
_TOO_COSTLY = f"the filters of the goals before it compare with {COMPARISONS_MAX} values; ask for this goal alone"
_COLUMNS = ("goal", "events", "visitors", "all_visitors", "rate", "value_sum")
_READS: tuple[Literal["visitors", "sums"], ...] = ("visitors", "sums")
_Place = tuple[int, int | None]  # of the bucket, and of the goal
_GIVEN = msgspec.json.Decoder(list[tuple[str, str, float | None]])


class Goal(NamedTuple):
    """`conditions`: None where it is not answered, and `reason` says why. `value`: of
    each event; None: its own.
    """

    name: str
    filter: str
    conditions: tuple[Condition, ...] | None
    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class GoalsQuery(KindQuery):
    kind = "goals"
    goals: tuple[Goal, ...] = ()

    @property
    def goals_ask_computed(self) -> bool:
        """As `asks_computed`, of the filters of goals."""
        return any(is_computed(condition.field) for goal in self.goals for condition in goal.conditions or ())


@dataclass(frozen=True)
class GoalsRead:
    """Rows (place of the bucket, place of the goal, visitors), or (bucket, goal, power
    of two, events, whole multiples of it, which add up to the values of events). With
    NULL as goal: of all events.
    """

    parts: Parts
    selection: Selection
    bucket_starts: tuple[datetime, ...]
    goals: tuple[tuple[Condition, ...], ...]
    of: Literal["visitors", "sums"]


@dataclass(frozen=True)
class GoalsPlan:
    """Without reads an archive of the time is past its retention, or there are no
    goals: nothing is read to say so.
    """

    query: GoalsQuery
    starts: tuple[datetime, ...]
    reads: Mapping[str, GoalsRead]


def given(goals: Iterable[NamedFilter]) -> str:
    """The parameter `goals`."""
    return msgspec.json.encode([(each.name, each.filter, each.value) for each in goals]).decode("utf-8")


def parse(parameters: Parameters, now: datetime, zone: str) -> GoalsQuery:
    found = common_query(parameters, OWN, COMMON, now, zone)
    goals = [_goal(*each) for each in _GIVEN.decode(parameters.get("goals") or "[]")][:ENTRIES_MAX]
    if name := parameters.get("goal", ""):
        goals = [each for each in goals if each.name == name]
        if not goals:
            raise QueryError("goal", "there is none of this name")
    query = GoalsQuery(**{**found, "goals": tuple(_affordable(goals))})
    if query.interval != "none" and len(query.bucket_starts()) * len(goals) > ROWS_MAX:
        raise QueryError("interval", f"more than {ROWS_MAX} rows; choose a longer interval, a shorter time or one goal")
    return query


def _goal(name: str, text: str, value: float | None) -> Goal:
    try:
        return Goal(name, text, event_filter(text, "filter"), value)
    except QueryError:
        return Goal(name, text, None, value, _INVALID)


def _affordable(goals: Iterable[Goal]) -> Iterator[Goal]:
    """The goals, in their order, without the conditions of those that are too much."""
    left = COMPARISONS_MAX
    for goal in goals:
        comparisons = sum(len(condition.values) for condition in goal.conditions or ())
        if comparisons <= left:
            left -= comparisons
            yield goal
        else:
            yield goal._replace(conditions=None, reason=_TOO_COSTLY)


def plan(query: GoalsQuery, days: Days) -> GoalsPlan:
    starts = tuple(query.bucket_starts())
    if not query.goals or any(each.kept.expired for each in days):
        return GoalsPlan(query, starts, {})
    scan = archive_scan(query, days, (), None)
    goals = tuple(each.conditions for each in query.goals if each.conditions is not None)
    buckets = {"total": ()} | ({"buckets": starts} if query.interval != "none" else {})
    reads = {
        f"{of}_of_{name}": GoalsRead(scan.parts, scan.selection, of_name, goals, of)
        for name, of_name in buckets.items()
        for of in _READS
    }
    return GoalsPlan(query, starts, reads)


def shape(plan: GoalsPlan, fetched: Fetched) -> Row:
    """A goal has a row, in each bucket of the interval if there is one, and one in
    `goals` of the whole time.
    """
    query = plan.query
    report: Row = {
        "from": local_time(query.start, query),
        "to": local_time(query.end, query),
        "tz": query.zone.key,
        "interval": query.interval,
    }
    if not plan.reads:
        none = {"goals": [], "rows": [], "total": {"events": None, "visitors": None}}
        return {**report, **none, "reason": EXPIRED_FILTER if query.goals else NO_GOALS}
    of_all = _Numbers(fetched, "total")
    whole = [of_all.row(query.goals, place, 0) for place in range(len(query.goals))]
    rows = whole
    if query.interval != "none":
        numbers = _Numbers(fetched, "buckets")
        rows = [
            {"time": local_time(start, query)} | numbers.row(query.goals, place, bucket)
            for bucket, start in enumerate(plan.starts)
            for place in range(len(query.goals))
        ]
    events, visitors = of_all.counted(0, None)
    goals = [_described(goal) | row for goal, row in zip(query.goals, whole, strict=True)]
    report |= {"goals": goals, "rows": rows, "total": {"events": events, "visitors": visitors}}
    is_too_large = any(row["value_sum"] is None and row["events"] is not None for row in (*whole, *rows))
    return report | ({"reason": TOO_LARGE} if is_too_large else {})


def _described(goal: Goal) -> Row:
    return {"filter": goal.filter, "value": goal.value} | ({"reason": goal.reason} if goal.reason else {})


class _Numbers:
    """What the reads of one name fetched, by bucket and goal."""

    def __init__(self, fetched: Fetched, name: str) -> None:
        self._visitors = {(bucket, goal): visitors for bucket, goal, visitors in fetched[f"visitors_of_{name}"]}
        self._events: Counter[_Place] = Counter()
        self._multiples: dict[_Place, list[tuple[int, int]]] = defaultdict(list)
        for bucket, goal, power, events, multiples in fetched[f"sums_of_{name}"]:
            self._events[bucket, goal] += events
            if power is not None:
                self._multiples[bucket, goal].append((power, multiples))

    def counted(self, bucket: int, goal: int | None) -> tuple[int, int]:
        """Events and visitors; of all with None."""
        return self._events[bucket, goal], self._visitors.get((bucket, goal), 0)

    def row(self, goals: tuple[Goal, ...], place: int, bucket: int) -> Row:
        """The row of a goal. Only goals that are answered have a place in the
        read.
        """
        goal, (_, everybody) = goals[place], self.counted(bucket, None)
        if goal.conditions is None:
            unknown: Row = dict.fromkeys(_COLUMNS[1:])
            return {"goal": goal.name, **unknown, "all_visitors": everybody}
        valid = sum(each.conditions is not None for each in goals[:place])
        events, visitors = self.counted(bucket, valid)
        values = exact_sum(self._multiples.get((bucket, valid), ())) if goal.value is None else events * goal.value
        return {
            "goal": goal.name,
            "events": events,
            "visitors": visitors,
            "all_visitors": everybody,
            "rate": round(visitors / everybody, 6) if everybody else None,
            "value_sum": values,
        }


def table(report: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    time = ["time"] if report["interval"] != "none" else []
    return [*time, *_COLUMNS], report["rows"]
