"""Retention: what is old or too much goes, but never what is not folded, and never
because a clock jumped (P9).

Which days and segments go is decided in expiry.py. Before the archive of a day goes,
its visitors are counted for good: per calendar day of FOLDLOG_TIMEZONE, in total and
per value of each dimension. They stay with the day's counters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec

from compactor.context import PassContext
from compactor.generations.archive import archived_events
from compactor.generations.kept import kept_snapshots
from compactor.generations.part_writer import write_counters
from compactor.retention.plan import LogFiles, RetentionPlan, is_past, plan_expiry
from compactor.sql import sql_list
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import COUNTER_COLUMNS, OTHER, TOTAL
from shared.generations.part_integrity import verified_part
from shared.generations.snapshot import Retention, Snapshot
from shared.log import Log
from shared.schema import DIMENSIONS
from shared.segments.sealed import Segment, file_sizes
from shared.settings import Settings
from shared.sql.archive_events import empty_relation_sql


def plan_retention(
    data: DataDirectory,
    before: Snapshot,
    after: Snapshot,
    sealed: Sequence[Segment],
    now_ms: int,
    settings: Settings,
    *,
    is_confirmed: bool = False,
) -> RetentionPlan:
    """What goes with the snapshot `after`. A segment that a snapshot may miss which may
    have to take its place stays.
    """
    log = LogFiles(sealed, _sizes(data, sealed, now_ms, settings), [before, *kept_snapshots(data)])
    return plan_expiry(before, after, log, now_ms, settings, is_confirmed=is_confirmed)


def _sizes(data: DataDirectory, sealed: Sequence[Segment], now_ms: int, settings: Settings) -> dict[str, int]:
    """The bytes that the plan asks for: to look at every file of a log takes longer
    than to list it.
    """
    if settings.log_max_bytes:
        return file_sizes(data)
    past = (segment for segment in sealed if is_past(segment, now_ms, settings))
    paths = (path for segment in past for path in (segment.path, segment.checksum))
    return {path.name: size for path in paths if (size := _size(path)) is not None}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # compressed or removed meanwhile
        return None


def retain(context: PassContext, after: Snapshot, plan: RetentionPlan) -> Snapshot:
    """The snapshot `after` without the days that go, and a record of this run in it.
    Deletes nothing.
    """
    dropped = {item.what for item in plan.counters.going}
    for item in plan.archive.going:
        if item.what not in dropped:
            after = _expire_archive(context, after, item.what)
    forgotten = {day: after.forgotten.get(day, 0) + _events(context, after, day) for day in sorted(dropped)}
    days = {day: kept for day, kept in after.days.items() if day not in dropped}
    return msgspec.structs.replace(
        after, days=days, forgotten={**after.forgotten, **forgotten}, retention=plan.record(after.retention)
    )


def remove_expired(plan: RetentionPlan) -> None:
    """Delete the segments that go, each copy. Only after the commit of the snapshot
    that this plan is recorded in.
    """
    remove([path for item in plan.log.going for path in (*item.what.copies, item.what.checksum)])


def log_retention(log: Log, run: Retention) -> None:
    """A warning for each reason for which something is kept that should not be."""
    if run.skipped:
        log.warning("retention_skipped", reason=run.skipped)
    for kind, held in run.held.items():
        todo = "`foldlog retain --dry-run` shows it, `foldlog retain --confirm` deletes it"
        days = {"first": str(held.first), "last": str(held.last), "days": held.days, "kept_days": held.kept_days}
        log.warning("retention_on_hold", kind=kind, **days, bytes=held.bytes, reason="most of it at once", action=todo)
    for kind, size in run.over_limit.items():
        log.warning("retention_over_limit", kind=kind, bytes=size, reason="what is left may not go yet")


def _events(context: PassContext, snapshot: Snapshot, day: date) -> int:
    """How many events the counters of a day know."""
    counters = snapshot.days[day].counters
    if counters is None:
        return 0
    path = str(verified_part(context.data, "counters", day, counters))
    sql = f"SELECT coalesce(sum(events), 0)::BIGINT FROM read_parquet($1) WHERE dimension = '{TOTAL}'"
    row = context.database.execute(sql, [path]).fetchone()
    return row[0] if row else 0


def _expire_archive(context: PassContext, snapshot: Snapshot, day: date) -> Snapshot:
    settings = context.settings
    kept = snapshot.days[day]
    parts = sql_list([verified_part(context.data, "counters", day, kept.counters)]) if kept.counters else ""
    source = f"read_parquet({parts})" if parts else empty_relation_sql(COUNTER_COLUMNS)
    context.database.execute(f"CREATE OR REPLACE TEMP TABLE counted AS FROM {source}")
    for local in _local_days(day, settings):
        utc_days = list(_utc_days(*local))
        if not any(snapshot.days[d].expired for d in utc_days if d in snapshot.days):
            _count_visitors(context, snapshot, local, utc_days)
    counters = write_counters(context, day, snapshot.generation)
    gone = msgspec.structs.replace(kept, archive=(), counters=counters, expired=True, visitor_zone=settings.timezone)
    return msgspec.structs.replace(snapshot, days={**snapshot.days, day: gone})


def _count_visitors(
    context: PassContext, snapshot: Snapshot, local: tuple[datetime, datetime], utc_days: list[date]
) -> None:
    """Add rows to `counted`: visitors between two instants, in total and per value, for
    each and for all of site and bot.
    """
    capped = {dimension for day in utc_days if day in snapshot.days for dimension in snapshot.days[day].capped}
    values = {"start": local[0].replace(tzinfo=None), "end": local[1].replace(tzinfo=None)}
    source = archived_events(context.data, snapshot, utc_days)
    for dimension in (TOTAL, *DIMENSIONS):
        value = "NULL::VARCHAR" if dimension == TOTAL else dimension
        if dimension in capped:
            column = dimension if dimension in {"event", "site"} else "value"
            named = TOTAL if dimension in {"event", "site"} else dimension
            value = (
                f"CASE WHEN {dimension} IN (SELECT {column} FROM counted WHERE dimension = '{named}' AND visitors IS NULL) "
                f"OR {dimension} IS NULL THEN {dimension} ELSE '{OTHER}' END"
            )
        context.database.execute(
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
    """The calendar days of FOLDLOG_TIMEZONE that overlap a UTC day: (begin, end), in
    UTC.
    """
    begins = datetime.combine(day, time(), UTC)
    local = begins.astimezone(settings.zone).date()
    while True:
        start, end = (
            datetime.combine(local + timedelta(days=n), time(), settings.zone).astimezone(UTC) for n in (0, 1)
        )
        if start >= begins + timedelta(days=1):
            return
        yield start, end
        local += timedelta(days=1)


def _utc_days(start: datetime, end: datetime) -> Iterator[date]:
    day = start.date()
    while day <= (end - timedelta(microseconds=1)).date():
        yield day
        day += timedelta(days=1)
