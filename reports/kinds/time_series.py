"""Events and visitors over time: a row for each bucket of the interval, or one row for
the whole time range.
"""

from __future__ import annotations

from reports.plan import Days, Plan, SeriesRead, plan_counts
from reports.query import Query
from reports.rows import Fetched, Row, as_utc, counts, kept_visitors, local_time, total_counts, visitors_of


def plan(query: Query, days: Days) -> Plan:
    return plan_counts(query, days, SeriesRead if query.interval != "none" else None)


def shape(plan: Plan, fetched: Fetched) -> tuple[list[Row], Row]:
    """A bucket without events has a row of zeros."""
    found = {as_utc(start): (events, visitors) for start, events, visitors in fetched.get("groups", ())}
    total = total_counts(plan, fetched, sum(events for events, _ in found.values()))
    if plan.query.interval == "none":
        return [total if total["events"] else counts(plan, 0, 0)], total
    kept = kept_visitors(plan, fetched)
    rows = []
    for bucket in plan.buckets:
        events, visitors = found.get(bucket[0], (0, 0))
        if events:
            visitors = visitors_of(plan, kept, bucket, None, visitors)
        rows.append({"time": local_time(bucket[0], plan.query)} | counts(plan, events, visitors))
    return rows, total
