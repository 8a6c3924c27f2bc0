"""From what the reads of a plan fetched to the rows of a report. Pure.

A number that the data no longer gives is None, and the report has the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reports.calendar import is_calendar_day
from reports.plan import Place, Plan, as_utc
from reports.query import Query

EXPIRED = "the archive of that time is past its retention, and visitors cannot be added up"
EXPIRED_FILTER = "the archive of that time is past its retention, and this question needs it"

Row = dict[str, Any]
Number = int | float | None
Fetched = Mapping[str, list[tuple[Any, ...]]]
NONE: Mapping[str, Number] = {}
KeptVisitors = Mapping[tuple[datetime, str | None], int]  # by start of a calendar day, and value


def with_header(
    plan: Plan,
    rows: list[Row],
    total: Row,
    generation: int,
    as_of: str,
    hosts: Sequence[Row] | None = None,
    others_missing: Sequence[str] = (),
) -> Row:
    """The report as it is answered; docs/api.md shows one. `hosts`: those that it is
    of; None where only this one was asked. `others_missing`: why numbers beside events
    and visitors are None.
    """
    query = plan.query
    report = {
        "from": local_time(query.start, query),
        "to": local_time(query.end, query),
        "tz": query.zone.key,
        "interval": query.interval,
        "by": query.by,
        "rows": rows,
        "total": total,
        "generation": generation,
        "as_of": as_of,
    }
    if hosts is not None:
        report["hosts"] = list(hosts)
    is_answered = plan.has_answer or not query.asks_events
    reasons = [*(_why_no_visitors(rows, total) if is_answered else [EXPIRED_FILTER]), *others_missing]
    if reasons:
        report["reason"] = "; ".join(reasons)
    return report


def _why_no_visitors(rows: list[Row], total: Row) -> list[str]:
    return [EXPIRED] if any(row.get("visitors", 0) is None for row in (total, *rows)) else []


def counts(plan: Plan, events: int | None, visitors: int | None, others: Mapping[str, Number] = NONE) -> Row:
    """The numbers of a row or of the total, in the order in which they were asked for.
    `others`: those beside events and visitors; one that is missing is None.
    """
    known = {"events": events, "visitors": visitors, **others}
    return {name: known.get(name) for name in plan.query.measures}


def no_answer(plan: Plan) -> tuple[list[Row], Row]:
    return [], counts(plan, None, None)


def total_counts(plan: Plan, fetched: Fetched, events_of_rows: int, others: Mapping[str, Number] = NONE) -> Row:
    """Over all rows, also those beyond the limit. A visitor of several rows is counted
    once.
    """
    events, visitors = fetched["total"][0][:2] if plan.total else (events_of_rows, None)
    if plan.query.by is None:
        span = (plan.query.start, plan.query.end)
        visitors = visitors_of(plan, kept_visitors(plan, fetched), span, None, visitors)
    return counts(plan, events, visitors, others)


def places(plan: Plan, fetched: Fetched) -> list[Place]:
    """The bucket and the value of each row with events."""
    by = plan.query.by is not None
    return [plan.place(row[0], row[1] if by else None) for row in fetched.get("groups", ())]


def kept_visitors(plan: Plan, fetched: Fetched) -> KeptVisitors:
    event = plan.query.event
    return {
        (as_utc(start), None if event else value): visitors
        for start, value, visitors in fetched.get("kept_visitors", ())
        if event in (None, value)
    }


def visitors_of(
    plan: Plan, kept: KeptVisitors, span: tuple[datetime, datetime], value: str | None, counted: int | None
) -> int | None:
    """The visitors of a time and value: as counted in the archive, or, where that has
    expired, as kept of a calendar day; else None. The first bucket may begin before the
    query does: its day is not whole then.
    """
    start, end = max(span[0], plan.query.start), span[1]
    if not plan.has_expired(start, end):
        return counted
    has_kept = is_calendar_day(start, end, plan.query.zone) and plan.is_of_one_host(start, end)
    return kept.get((start, value)) if has_kept else None


def local_time(moment: datetime, query: Query) -> str:
    """RFC 3339, with the offset of the query's zone."""
    return moment.astimezone(query.zone).isoformat()
