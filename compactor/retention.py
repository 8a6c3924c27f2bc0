"""Retention: what is old enough goes, but never what is not folded, and never because a clock jumped (P9).

Which days and segments go is decided in plan.py. Before the archive of a day goes, its visitors are counted for good: per
calendar day of FOLDLOG_TIMEZONE, in total and per value of each dimension. They stay with the day's counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import duckdb
import msgspec

from compactor.fold import archive_paths
from compactor.parts import sql_list, write_counters
from compactor.plan import clock_doubt, doubted_since, expired_archive_days, expired_counter_days
from shared.layout import DataDirectory
from shared.parts import COUNTER_COLUMNS, DIMENSIONS, OTHER, TOTAL, archived, no_rows, whole_part
from shared.settings import Settings
from shared.snapshot import Retention, Snapshot
from shared.timestamps import rfc3339


def retain(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    before: Snapshot,
    after: Snapshot,
    now_ms: int,
    settings: Settings,
) -> Snapshot:
    """The snapshot `after` without the days that are past their retention, and a record of this run in it."""
    if doubt := clock_doubt(before, now_ms):
        run = Retention(at=rfc3339(now_ms), skipped=doubt, doubted_since=doubted_since(before, now_ms))
        return msgspec.structs.replace(after, retention=run)
    expired = expired_archive_days(after, now_ms, settings)
    for day in expired:
        after = _expire_archive(database, data, after, day, settings)
    dropped = set(expired_counter_days(after, now_ms, settings))
    days = {day: kept for day, kept in after.days.items() if day not in dropped}
    run = Retention(at=rfc3339(now_ms), archive_days=len(expired), counter_days=len(dropped))
    return msgspec.structs.replace(after, days=days, retention=run)


def _expire_archive(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, day: date, settings: Settings
) -> Snapshot:
    kept = snapshot.days[day]
    parts = sql_list([whole_part(data, "counters", day, kept.counters)]) if kept.counters else ""
    source = f"read_parquet({parts})" if parts else no_rows(COUNTER_COLUMNS)
    database.execute(f"CREATE OR REPLACE TEMP TABLE counted AS FROM {source}")
    for local in _local_days(day, settings):
        utc_days = list(_utc_days(*local))
        if not any(snapshot.days[d].expired for d in utc_days if d in snapshot.days):
            _count_visitors(database, data, snapshot, local, utc_days)
    counters = write_counters(database, data, day, snapshot.generation)
    gone = msgspec.structs.replace(kept, archive=(), counters=counters, expired=True, visitor_zone=settings.timezone)
    return msgspec.structs.replace(snapshot, days={**snapshot.days, day: gone})


def _count_visitors(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    local: tuple[datetime, datetime],
    utc_days: list[date],
) -> None:
    """Add rows to `counted`: visitors between two instants, in total and per value, for each and for all of site and bot."""
    capped = {dimension for day in utc_days if day in snapshot.days for dimension in snapshot.days[day].capped}
    values = {"start": local[0].replace(tzinfo=None), "end": local[1].replace(tzinfo=None)}
    source = archived(f"read_parquet({sql_list(archive_paths(data, snapshot, utc_days))})")
    for dimension in (TOTAL, *DIMENSIONS):
        value = "NULL::VARCHAR" if dimension == TOTAL else dimension
        if dimension in capped:
            column = dimension if dimension in {"event", "site"} else "value"
            named = TOTAL if dimension in {"event", "site"} else dimension
            value = (
                f"CASE WHEN {dimension} IN (SELECT {column} FROM counted WHERE dimension = '{named}' AND visitors IS NULL) "
                f"OR {dimension} IS NULL THEN {dimension} ELSE '{OTHER}' END"
            )
        database.execute(
            f"""
            INSERT INTO counted BY NAME
            SELECT $start::TIMESTAMP AS bucket, site, bot, '{dimension}' AS dimension, value, 0 AS events,
                count(DISTINCT visitor) AS visitors
            FROM (SELECT site, bot, visitor, {value} AS value FROM {source} WHERE time >= $start AND time < $end)
            GROUP BY GROUPING SETS ((value, site, bot), (value, site), (value, bot), (value))
            HAVING count(*) > 0
            """,
            values,
        )


def _local_days(day: date, settings: Settings) -> Iterator[tuple[datetime, datetime]]:
    """The calendar days of FOLDLOG_TIMEZONE that overlap a UTC day: (begin, end), in UTC."""
    begins = datetime.combine(day, time(), UTC)
    local = begins.astimezone(settings.zone).date()
    while True:
        start, end = (datetime.combine(local + timedelta(days=n), time(), settings.zone).astimezone(UTC) for n in (0, 1))
        if start >= begins + timedelta(days=1):
            return
        yield start, end
        local += timedelta(days=1)


def _utc_days(start: datetime, end: datetime) -> Iterator[date]:
    day = start.date()
    while day <= (end - timedelta(microseconds=1)).date():
        yield day
        day += timedelta(days=1)
