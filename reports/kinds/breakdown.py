"""The numbers of a report by the values of a dimension or a property, of the whole time
range or of each bucket of the interval: the values with the most events.
"""

from __future__ import annotations

from functools import partial

from reports.measures.families import numbers_of_rows, numbers_of_total, with_families
from reports.plan import BreakdownRead, Days, Plan, as_utc, plan_counts
from reports.query import Query
from reports.rows import NONE, Fetched, Row, counts, kept_visitors, local_time, total_counts, visitors_of


def plan(query: Query, days: Days) -> Plan:
    return with_families(plan_counts(query, days, partial(BreakdownRead, limit=query.limit, shown=query.values)), days)


def shape(plan: Plan, fetched: Fetched) -> tuple[list[Row], Row]:
    """Only buckets and values with events have a row."""
    found = fetched["groups"]
    has_buckets = plan.query.interval != "none"
    buckets = {bucket[0]: bucket for bucket in plan.buckets}
    kept, others = kept_visitors(plan, fetched), numbers_of_rows(plan, fetched)
    rows = []
    for start, value, events, visitors, *_ in found:
        bucket = buckets[as_utc(start)] if has_buckets else plan.buckets[0]
        row = {"time": local_time(bucket[0], plan.query)} if has_buckets else {}
        shown = visitors_of(plan, kept, bucket, value, visitors)
        rows.append(row | {"value": value} | counts(plan, events, shown, others.get((bucket[0], value), NONE)))
    return rows, total_counts(plan, fetched, found[0][4] if found else 0, numbers_of_total(plan, fetched))
