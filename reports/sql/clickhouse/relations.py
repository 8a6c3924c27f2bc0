"""The events that a query matches, in ClickHouse's SQL.

Of an event that several hosts have, the copy that counts may be on another day: days on
both sides are read, and the time is compared after FINAL has chosen. What stands in the
key of the table may be compared before.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from reports.kinds.goals import GoalsRead
from reports.plan import ArchiveScan
from reports.sql.clickhouse.bound import Bound
from reports.sql.clickhouse.conditions import condition_sql, dimension_sql
from shared.lateness import DEDUPE_DAYS


def numbers(values: Iterable[int], kind: str) -> str:
    """An array as a literal: a parameter may not be as long as ten thousand of them."""
    return f"CAST([{', '.join(map(str, values))}], 'Array({kind})')"


def matching_events(scan: ArchiveScan, table: str, bound: Bound, column: str = "visitor") -> str:
    """(bucket, value, and a column of the table): `bucket` is the time at which one
    begins, in ms; 0 without buckets. `value` is NULL for none.
    """
    selection = scan.selection
    conditions = [
        f"time_ms >= {bound.value('start', 'Int64', _ms(selection.start))}",
        f"time_ms < {bound.value('end', 'Int64', _ms(selection.end))}",
        *{"exclude": ["NOT bot"], "only": ["bot"], "include": []}[selection.bots],
        *([f"event = {bound.value('event', 'String', selection.event)}"] if selection.event is not None else []),
        *(condition_sql(each, f"condition{number}", bound) for number, each in enumerate(selection.conditions)),
    ]
    value = "CAST(NULL, 'Nullable(String)')" if scan.by is None else dimension_sql(scan.by, "by", bound)
    return (
        f"SELECT {_bucket(scan)} AS bucket, {value} AS value, {column} "
        f"FROM ({_events_that_count(scan, table, bound)}) a WHERE {' AND '.join(conditions)}"
    )


def events_of_goals(read: GoalsRead, table: str, bound: Bound, column: str) -> str:
    """(bucket, value, goal, and a column of the table): an event for each goal that it
    matches, by the goal's place, and once for all of them (-1).
    """
    scan = ArchiveScan(read.selection, read.bucket_starts, None, (), None)
    matches = [
        " AND ".join(condition_sql(each, f"goal{place}_{n}", bound) for n, each in enumerate(conditions)) or "1"
        for place, conditions in enumerate(read.goals)
    ]
    places = "[toInt16(-1)]"
    if matches:
        every, holds = numbers(range(len(matches)), "Int16"), ", ".join(f"toUInt8({each})" for each in matches)
        places = f"arrayConcat({places}, arrayFilter((place, holds) -> holds, {every}, [{holds}]))"
    return matching_events(scan, table, bound, f"arrayJoin({places}) AS goal, {column}")


def _events_that_count(scan: ArchiveScan, table: str, bound: Bound) -> str:
    """ClickHouse reads only the columns that are used outside."""
    first, last = days_with_copies(scan.selection.start, scan.selection.end)
    within = (
        f"day >= {bound.value('first', 'Date', first.isoformat())} AND "
        f"day <= {bound.value('last', 'Date', last.isoformat())}"
    )
    site = scan.selection.site
    if site is not None:
        within += f" AND site = {bound.value('site', 'String', site)}"
    return f"SELECT * FROM {table} FINAL WHERE {within}"


def days_with_copies(start: datetime, end: datetime) -> tuple[date, date]:
    """The first and the last UTC day on which an event of this time, or a copy of it,
    may be.
    """
    apart = timedelta(days=DEDUPE_DAYS)
    return (start.astimezone(UTC) - apart).date(), (end.astimezone(UTC) + apart).date()


def _bucket(scan: ArchiveScan) -> str:
    if not scan.bucket_starts:
        return "toInt64(0)"
    return f"roundDown(time_ms, {numbers(map(_ms, scan.bucket_starts), 'Int64')})"


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
