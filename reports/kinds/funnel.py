"""How many visitors took some steps one after another, within a time from the first or
within a visit: over all visitors, and by the values of a dimension.

A visitor counts for step k where events e1 … ek exist, each after the one before and
each matching its step, of which ek is at most the window after e1, or of the visit of
e1. docs/reports.md defines the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from reports.filters import Condition, event_filter
from reports.kinds.kind_query import KindQuery, Parameters, common_query
from reports.plan import Days, Parts, Selection, archive_scan
from reports.query_error import QueryError
from reports.rows import EXPIRED_FILTER, Fetched, Row, local_time

STEPS_MIN, STEPS_MAX = 2, 8
WINDOW_DEFAULT = "7d"
WINDOW_DAYS_MAX = 365
VISIT = "visit"
OWN = ("steps", "window")
COMMON = ("from", "to", "tz", "by", "site", "filter", "limit", "bots", "scope")
NUMBERS = ("visitors", "conversion", "step_conversion", "median_s", "median_from_first_s")
# `;` separates the conditions of a step, as of every filter.
BETWEEN_STEPS = ";;"
_BETWEEN_STEPS = re.compile(r"(?<!\\);;+")
_DAYS = re.compile(r"[1-9][0-9]{0,2}d", re.ASCII)

Steps = tuple[tuple[Condition, ...], ...]


@dataclass(frozen=True)
class FunnelQuery(KindQuery):
    """`filters`: the steps as they were asked; `window`: None for a visit."""

    kind = "funnel"
    filters: tuple[str, ...] = ()
    steps: Steps = ()
    window: timedelta | None = timedelta(0)

    @property
    def asks_visits(self) -> bool:
        return self.window is None


@dataclass(frozen=True)
class FunnelRead:
    """One row at least; those of nothing found have no place. (place, value, visitors
    that are daily hashes, list of visitors by step, list of medians, how many values
    there are, whether a number stood for several visitors, whether events were not in
    order). Place 0: all visitors; from
    1 to `limit`: values; `limit` + 1: the other values together. Medians are in
    milliseconds, numbered: 2 k - 3 from step k - 1 to k, 2 k - 2 from the first to k.

    `is_strong`: visitors have strong numbers. `window`: None for a visit; then `visits`
    are files with the visits that begin on the days of the parts.
    """

    selection: Selection
    steps: Steps
    window: timedelta | None
    by: str | None
    limit: int
    parts: Parts
    is_strong: bool = False
    visits: tuple[str, ...] = ()


@dataclass(frozen=True)
class FunnelPlan:
    """Without a read there is no answer, with the `reason`."""

    query: FunnelQuery
    reads: Mapping[str, FunnelRead]
    reason: str = EXPIRED_FILTER


def parse(parameters: Parameters, now: datetime, zone: str) -> FunnelQuery:
    found = common_query(parameters, OWN, COMMON, now, zone)
    filters = tuple(filter(None, _BETWEEN_STEPS.split(parameters.get("steps", "").strip())))
    if not STEPS_MIN <= len(filters) <= STEPS_MAX:
        example = f"path==/pricing{BETWEEN_STEPS}event==signup"
        raise QueryError("steps", f"must be {STEPS_MIN} to {STEPS_MAX} filters, such as {example}")
    steps = tuple(event_filter(text, "steps") for text in filters)
    if not all(steps):
        raise QueryError("steps", "each needs a condition")
    return FunnelQuery(**found, filters=filters, steps=steps, window=_window(parameters.get("window", "")))


def _window(text: str) -> timedelta | None:
    if text == VISIT:
        return None
    days = text or WINDOW_DEFAULT
    if _DAYS.fullmatch(days) and int(days[:-1]) <= WINDOW_DAYS_MAX:
        return timedelta(days=int(days[:-1]))
    raise QueryError("window", f"must be {VISIT}, or a number of days from 1d to {WINDOW_DAYS_MAX}d")


def plan(query: FunnelQuery, days: Days) -> FunnelPlan:
    if any(each.kept.expired for each in days):
        return FunnelPlan(query, {})
    scan = archive_scan(query, days, (), None)
    read = FunnelRead(scan.selection, query.steps, query.window, query.by, query.limit, scan.parts)
    return FunnelPlan(query, {"funnel": read})


def within_visits(plan: FunnelPlan, files: Sequence[str], reason: str | None) -> FunnelPlan:
    """The plan with the visits that it needs, or with the reason why they are not
    known.
    """
    if reason is not None:
        return FunnelPlan(plan.query, {}, reason)
    return replace(plan, reads={name: replace(read, visits=tuple(files)) for name, read in plan.reads.items()})


def is_ambiguous(found: Sequence[Sequence[Any]]) -> bool:
    """Whether a number stood for several visitors. Raises AssertionError for events
    that were not in order.
    """
    *_, number, order = found[0]
    if order:
        raise AssertionError("the events of a funnel were not in order")
    return bool(number)


def shape(plan: FunnelPlan, fetched: Fetched) -> Row:
    query, found = plan.query, {row[0]: row for row in fetched.get("funnel", ()) if row[0] is not None}
    of_all = found.get(0, (0, None, 0, [0] * len(query.steps), None, 0))
    steps = [
        {"step": number, "filter": query.filters[number - 1], **numbers}
        for number, numbers in enumerate(_numbers(of_all[3], of_all[4]) if plan.reads else _unknown(query), 1)
    ]
    report: Row = {
        "from": local_time(query.start, query),
        "to": local_time(query.end, query),
        "tz": query.zone.key,
        "window": VISIT if query.window is None else f"{query.window.days}d",
        "by": query.by,
        "steps": steps,
        "rows": [row for place in sorted(found) if place for row in _rows(query, found[place])] if query.by else steps,
        "total": {
            "visitors": of_all[3][0] if plan.reads else None,
            "converted": of_all[3][-1] if plan.reads else None,
            "daily_visitors": of_all[2] if plan.reads else None,
        },
    }
    return report if plan.reads else report | {"reason": plan.reason}


def _rows(query: FunnelQuery, found: Sequence[Any]) -> Iterable[Row]:
    """Of a value, or of those beyond the limit, of which there are `others`."""
    place, value, _, visitors, medians, values, *_ = found
    others = {"others": values - query.limit} if place > query.limit else {}
    for number, numbers in enumerate(_numbers(visitors, medians), 1):
        yield {"value": value, **others, "step": number, **numbers}


def _numbers(visitors: Sequence[int], medians: Sequence[Mapping[str, Any]] | None) -> Iterable[Row]:
    """By step. A share of none is None, as is the time of none."""
    ms = {each["number"]: each["ms"] for each in medians or ()}
    for place, count in enumerate(visitors):
        before = visitors[place - 1] if place else count
        yield {
            "visitors": count,
            "conversion": _share(count, visitors[0]),
            "step_conversion": _share(count, before),
            "median_s": _seconds(ms.get(2 * place - 1)),
            "median_from_first_s": _seconds(ms.get(2 * place)),
        }


def _unknown(query: FunnelQuery) -> Iterable[Row]:
    return (dict.fromkeys(NUMBERS) for _ in query.steps)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _seconds(ms: float | None) -> float | None:
    """Medians are of whole milliseconds, or between two of them."""
    return None if ms is None else round(ms / 1000, 4)


def table(report: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    names = ("step", "filter") if report["by"] is None else ("value", "others", "step")
    return [*names, *NUMBERS], report["rows"]
