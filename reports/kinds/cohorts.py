"""Visitors by the period of their first event, and how many of them came back in each
later period.

The first event is the first that the archive still has: all of it, up to the end of the
question, is read for this. Visitors that are hashes of a day are others the next day,
so they are left out and counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from reports.calendar import bucket_starts, has_more_buckets, midnight, overlaps_utc_day
from reports.filters import Condition, event_filter
from reports.kinds.kind_query import EPOCH, KindQuery, Parameters, common_query, one_of
from reports.plan import Days, Parts, Selection, archive_scan
from reports.query_error import QueryError
from reports.rows import EXPIRED_FILTER, Fetched, Row, local_time

PERIODS = ("week", "day", "month")
# Periods in one report, so that it has 5,050 cells at most. The SQL has a bit for each.
PERIODS_MAX = 100
# Without `from` a report has about twelve periods.
_DEFAULT_DAYS = {"day": 11, "week": 77, "month": 335}
OWN = ("period", "return")
COMMON = ("from", "to", "tz", "event", "site", "filter", "bots", "scope")


@dataclass(frozen=True)
class CohortsQuery(KindQuery):
    """`returning`: what an event of a visitor who came back has; None: what a first
    event has.
    """

    kind = "cohorts"
    returning: tuple[Condition, ...] | None = None

    @property
    def reads_from(self) -> datetime:
        return EPOCH


class Entry(NamedTuple):
    """What a first event has: a name (None: any), and conditions."""

    event: str | None
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class CohortsRead:
    """Rows (place of the cohort among `starts`, place of the period, visitors), of
    visitors who were there before the first of `starts` none. In the period of the
    cohort: all of it.

    `selection`: of all events that are read. `entry`: what a first event has besides;
    `returning`: what a later one has, None for the same.
    """

    parts: Parts
    selection: Selection
    entry: Entry
    returning: tuple[Condition, ...] | None
    starts: tuple[datetime, ...]


@dataclass(frozen=True)
class DailyRead:
    """One row: how many visitors of first events in the time are hashes of a day."""

    parts: Parts
    selection: Selection
    entry: Entry


@dataclass(frozen=True)
class CohortsPlan:
    """`since`: the first UTC day of the archive; None where it has none. Without reads
    an archive of the time is past its retention.
    """

    query: CohortsQuery
    starts: tuple[datetime, ...]
    since: date | None
    reads: Mapping[str, CohortsRead | DailyRead]


def parse(parameters: Parameters, now: datetime, zone: str) -> CohortsQuery:
    period = one_of("period", parameters.get("period", ""), PERIODS)
    found = common_query(parameters, OWN, COMMON, now, zone)
    if not parameters.get("from"):
        last = (found["end"] - timedelta(microseconds=1)).astimezone(found["zone"]).date()
        found["start"] = midnight(last - timedelta(days=_DEFAULT_DAYS[period]), found["zone"])
    returning = event_filter(text, "return") if (text := parameters.get("return", "")) else None
    query = CohortsQuery(**{**found, "interval": period, "returning": returning})
    if has_more_buckets(query.start, query.end, query.interval, query.zone, PERIODS_MAX):
        raise QueryError("period", f"more than {PERIODS_MAX}; choose a longer period or a shorter time")
    return query


def plan(query: CohortsQuery, days: Days) -> CohortsPlan:
    archived = [each.day for each in days if each.kept.archive]
    starts = tuple(bucket_starts(query.start, query.end, query.interval, query.zone, PERIODS_MAX))
    found = CohortsPlan(query, starts, min(archived, default=None), {})
    if any(each.kept.expired and overlaps_utc_day(each.day, query.start, query.end) for each in days):
        return found
    selection = Selection(EPOCH, query.end, query.bots, None, query.site, ())
    parts = archive_scan(query, days, (), None).parts
    begins = (query.start, *starts[1:])
    of_time = tuple(each for each in parts if overlaps_utc_day(each.day, query.start, query.end))
    reads: dict[str, CohortsRead | DailyRead] = {
        "cohorts": CohortsRead(parts, selection, _entry(query), query.returning, begins),
        "daily": DailyRead(of_time, replace(selection, start=query.start), _entry(query)),
    }
    return replace(found, reads=reads)


def _entry(query: CohortsQuery) -> Entry:
    return Entry(query.event, query.conditions)


def shape(plan: CohortsPlan, fetched: Fetched) -> Row:
    query, has_answer = plan.query, bool(plan.reads)
    cells = {(cohort, period): visitors for cohort, period, visitors in fetched.get("cohorts", ())}
    count = len(plan.starts)
    rows = [
        {
            "time": local_time(start, query),
            "visitors": cells.get((cohort, cohort), 0),
            "returned": [cells.get((cohort, period), 0) for period in range(cohort + 1, count)],
        }
        for cohort, start in enumerate(plan.starts)
    ]
    total = {
        "visitors": sum(row["visitors"] for row in rows) if has_answer else None,
        "daily_visitors": fetched["daily"][0][0] if has_answer else None,
    }
    report: Row = {
        "from": local_time(query.start, query),
        "to": local_time(query.end, query),
        "tz": query.zone.key,
        "period": query.interval,
        "archive_since": plan.since.isoformat() if plan.since else None,
        "rows": rows if has_answer else [],
        "total": total,
    }
    return report if has_answer else report | {"reason": EXPIRED_FILTER}


def table(report: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    """A column for each later period: the first row has most of them."""
    rows = report["rows"]
    later = len(rows[0]["returned"]) if rows else 0
    names = [f"returned_{number}" for number in range(1, later + 1)]
    shown = [
        {"time": row["time"], "visitors": row["visitors"]} | dict(zip(names, row["returned"], strict=False))
        for row in rows
    ]
    return ["time", "visitors", *names], shown
