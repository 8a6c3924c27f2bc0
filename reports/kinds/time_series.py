"""The numbers of a report over time: a row for each bucket of the interval, or one row
for the whole time range.
"""

from __future__ import annotations

from reports.measures.families import nothing_happened, numbers_of_rows, numbers_of_total, with_families
from reports.plan import Days, Plan, SeriesRead, as_utc, plan_counts
from reports.query import Query
from reports.rows import Fetched, Row, counts, kept_visitors, local_time, total_counts, visitors_of


def plan(query: Query, days: Days) -> Plan:
    return with_families(plan_counts(query, days, SeriesRead if query.interval != "none" else None), days)


def shape(plan: Plan, fetched: Fetched) -> tuple[list[Row], Row]:
    """A bucket without events has a row of zeros."""
    found = {as_utc(start): (events, visitors) for start, events, visitors in fetched.get("groups", ())}
    of_rows = sum(events for events, _ in found.values())
    total = total_counts(plan, fetched, of_rows, numbers_of_total(plan, fetched))
    nothing = nothing_happened(plan.query)
    if plan.query.interval == "none":
        has_events = fetched["total"][0][0] if plan.total else of_rows
        return [total if has_events else counts(plan, 0, 0, nothing)], total
    kept, others = kept_visitors(plan, fetched), numbers_of_rows(plan, fetched)
    rows = []
    for bucket in plan.buckets:
        events, visitors = found.get(bucket[0], (0, 0))
        if events:
            visitors = visitors_of(plan, kept, bucket, None, visitors)
        of_bucket = others.get((bucket[0], None), nothing) if events else nothing
        rows.append({"time": local_time(bucket[0], plan.query)} | counts(plan, events, visitors, of_bucket))
    return rows, total
