"""Applies a retention plan: expired days leave the snapshot before the commit, expired
segments are deleted after it (P9). plan.py decides which.

Before the archive of a day is deleted, its visitors are counted one last time: per
calendar day of FOLDLOG_TIMEZONE, in total and per value of each dimension. They are
kept with the day's counters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec

from compactor.context import PassContext
from compactor.fold.counters import load_day_counters, total_events
from compactor.generations.archive import archived_events
from compactor.generations.kept import kept_snapshots
from compactor.generations.part_writer import write_counters
from compactor.retention.plan import LogFiles, RetentionPlan, is_too_old, plan_expiry
from compactor.sql import sql_file
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import OTHER, TOTAL
from shared.generations.last_look import at_last_look, last_retention
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Retention, Snapshot
from shared.log import Log
from shared.schema import DIMENSIONS
from shared.segments.sealed import Segment, file_sizes
from shared.settings import Settings

_COUNT_VISITORS = sql_file(__file__, "count_visitors.sql")


def plan_retention(
    data: DataDirectory,
    before: Snapshot,
    after: Snapshot,
    sealed: Sequence[Segment],
    now_ms: int,
    settings: Settings,
    *,
    confirmed: bool = False,
) -> RetentionPlan:
    """What is deleted with the snapshot `after`. A segment is kept for as long as a
    snapshot that may have to replace the newest has not folded it.
    """
    if not settings.log_max_bytes and not any(is_too_old(segment, now_ms, settings) for segment in sealed):
        log = LogFiles((), {}, ())  # no segment is due; the kept snapshots need not be read
    else:
        log = LogFiles(sealed, _sizes(data, sealed, now_ms, settings), [before, *kept_snapshots(data)])
    return plan_expiry(at_last_look(data, before), after, log, now_ms, settings, confirmed=confirmed)


def _sizes(data: DataDirectory, sealed: Sequence[Segment], now_ms: int, settings: Settings) -> dict[str, int]:
    """The sizes that the plan needs, by file name. Without a limit only expired files
    are examined, because a stat of every file takes longer than a listing.
    """
    if settings.log_max_bytes:
        return file_sizes(data)
    old = (segment for segment in sealed if is_too_old(segment, now_ms, settings))
    paths = (path for segment in old for path in (segment.path, segment.checksum))
    return {path.name: size for path in paths if (size := _size(path)) is not None}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # compressed or removed meanwhile
        return None


def apply_retention(context: PassContext, after: Snapshot, plan: RetentionPlan) -> Snapshot:
    """The snapshot `after` without the expired days, and with the record of this run.
    Writes counters, deletes nothing.
    """
    dropped = {item.target for item in plan.counters.to_delete}
    for item in plan.archive.to_delete:
        if item.target not in dropped:
            after = _expire_archive(context, after, item.target)
    dropped_events = {day: after.dropped_days.get(day, 0) + _events(context, after, day) for day in sorted(dropped)}
    days = {day: kept for day, kept in after.days.items() if day not in dropped}
    retention = plan.record(last_retention(context.data, after))
    return msgspec.structs.replace(
        after, days=days, dropped_days={**after.dropped_days, **dropped_events}, retention=retention
    )


def delete_expired(plan: RetentionPlan) -> None:
    """Delete the expired segments, with all their copies. Call it only after the commit
    of the snapshot that records this plan.
    """
    remove([path for item in plan.log.to_delete for path in (*item.target.copies, item.target.checksum)])


def warn_of_kept_data(log: Log, run: Retention) -> None:
    """A warning for each reason for which something expired is kept."""
    if run.skipped:
        log.warning("retention_skipped", reason=run.skipped)
    for kind, hold in run.on_hold.items():
        action = "`foldlog retain --dry-run` shows the deletion, `foldlog retain --confirm` carries it out"
        days = {"first": str(hold.first), "last": str(hold.last), "days": hold.days, "kept_days": hold.kept_days}
        reason = "it would delete most of this kind at once"
        log.warning("retention_on_hold", kind=kind, **days, bytes=hold.bytes, reason=reason, action=action)
    for kind, size in run.over_limit.items():
        log.warning("retention_over_limit", kind=kind, bytes=size, reason="the rest may not be deleted yet")


# --- expiry of a day's archive


def _events(context: PassContext, snapshot: Snapshot, day: date) -> int:
    """How many events the counters of a day contain. Raises PartDamaged."""
    counters = snapshot.days[day].counters
    return total_events(context.database, verified_parts(context.data, "counters", day, counters))


def _expire_archive(context: PassContext, snapshot: Snapshot, day: date) -> Snapshot:
    """The snapshot without the archive of a day, whose counters now include
    visitors.
    """
    kept = snapshot.days[day]
    counters = load_day_counters(context, day, kept.counters)
    for local in _local_days(day, context.settings):
        utc_days = list(_utc_days(*local))
        # Once one of its UTC days has expired, the visitors of a local day cannot be
        # counted any more.
        if not any(snapshot.days[each].expired for each in utc_days if each in snapshot.days):
            _count_visitors(context, snapshot, local, utc_days)
    written = write_counters(context, day, counters, snapshot.generation)
    zone = context.settings.timezone
    expired = msgspec.structs.replace(kept, archive=(), counters=written, expired=True, visitor_zone=zone)
    return msgspec.structs.replace(snapshot, days={**snapshot.days, day: expired})


def _count_visitors(
    context: PassContext, snapshot: Snapshot, local: tuple[datetime, datetime], utc_days: list[date]
) -> None:
    """Add to `day_counters` the visitors between two instants, in total and per value
    of each dimension.
    """
    capped = {dimension for day in utc_days if day in snapshot.days for dimension in snapshot.days[day].capped}
    start, end = (instant.replace(tzinfo=None) for instant in local)
    source = archived_events(context.data, snapshot, utc_days)
    for dimension in (TOTAL, *DIMENSIONS):
        value = _value_sql(dimension, is_capped=dimension in capped)
        context.database.execute(
            "CREATE OR REPLACE TEMP VIEW dimension_values AS "
            f"SELECT time, site, bot, visitor, {value} AS value FROM {source}"
        )
        context.database.execute(_COUNT_VISITORS, {"start": start, "end": end, "dimension": dimension})


def _value_sql(dimension: str, *, is_capped: bool) -> str:
    """SQL of the value under which an event is counted. Values that the counters have
    not kept are `(other)`.
    """
    if dimension == TOTAL:
        return "NULL::VARCHAR"
    if not is_capped:
        return dimension
    # Event and site are columns of every row; other dimensions have rows of their own.
    column, rows = (dimension, TOTAL) if dimension in {"event", "site"} else ("value", dimension)
    kept = f"SELECT {column} FROM day_counters WHERE dimension = '{rows}' AND visitors IS NULL"
    return f"CASE WHEN {dimension} IN ({kept}) OR {dimension} IS NULL THEN {dimension} ELSE '{OTHER}' END"


def _local_days(day: date, settings: Settings) -> Iterator[tuple[datetime, datetime]]:
    """The calendar days of FOLDLOG_TIMEZONE that overlap a UTC day: start and end (not
    included), in UTC. None in the year 9999, which no report reaches: the calendar ends
    there.
    """
    if day.year == MAXYEAR:
        return
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
    """The UTC days between two instants; `end` is not included."""
    day = start.date()
    while day <= (end - timedelta(microseconds=1)).date():
        yield day
        day += timedelta(days=1)
