"""From what the reads of a plan fetched to the rows of a report. Pure.

A number that the data no longer gives is None, and the report has the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from reports.calendar import is_calendar_day
from reports.plan import Plan
from reports.query import Query

EXPIRED = "the archive of that time is past its retention, and visitors cannot be added up"
EXPIRED_FILTER = "the archive of that time is past its retention, and this question needs it"

Row = dict[str, Any]
Fetched = Mapping[str, list[tuple[Any, ...]]]
KeptVisitors = Mapping[tuple[datetime, str | None], int]  # by start of a calendar day, and value


def with_header(
    plan: Plan, rows: list[Row], total: Row, generation: int, as_of: str, hosts: Sequence[Row] | None = None
) -> Row:
    """The report as it is answered; docs/api.md shows one. `hosts`: those that it is
    of; None where only this one was asked.
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
    if total["events"] is None:
        report["reason"] = EXPIRED_FILTER
    elif any(row.get("visitors", 0) is None for row in (total, *rows)):
        report["reason"] = EXPIRED
    return report


def counts(plan: Plan, events: int | None, visitors: int | None) -> Row:
    """The numbers of a row or of the total."""
    return {"events": events} | ({"visitors": visitors} if plan.counts_visitors else {})


def no_answer(plan: Plan) -> tuple[list[Row], Row]:
    return [], counts(plan, None, None)


def total_counts(plan: Plan, fetched: Fetched, events_of_rows: int) -> Row:
    """Over all rows, also those beyond the limit. A visitor of several rows is counted
    once.
    """
    events, visitors = fetched["total"][0][:2] if plan.total else (events_of_rows, None)
    if plan.query.by is None:
        span = (plan.query.start, plan.query.end)
        visitors = visitors_of(plan, kept_visitors(plan, fetched), span, None, visitors)
    return counts(plan, events, visitors)


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


def as_utc(timestamp: datetime) -> datetime:
    """A TIMESTAMP column, which is UTC without a zone."""
    return timestamp.replace(tzinfo=UTC)


def local_time(moment: datetime, query: Query) -> str:
    """RFC 3339, with the offset of the query's zone."""
    return moment.astimezone(query.zone).isoformat()
