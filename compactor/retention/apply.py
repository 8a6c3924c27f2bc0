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
from msgspec.structs import replace

from compactor.context import PassContext
from compactor.fold.recount import few_rows
from compactor.generations.archive import open_parts
from compactor.generations.counter_parts import merge_counters, total_events
from compactor.generations.day_merge import count_day, replace_day
from compactor.generations.kept import kept_snapshots
from compactor.generations.visit_freshness import without_stale_visits
from compactor.generations.visit_parts import make_visits
from compactor.retention.kept_visitors import count_visitors, create_kept_visitors
from compactor.retention.plan import Confirmed, LogFiles, RetentionPlan, is_too_old, plan_expiry
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.generations.last_look import at_last_look, last_retention
from shared.generations.snapshot import Day, Retention, Snapshot
from shared.holds import confirmed_holds, forget_confirmed, temp_confirmations
from shared.log import Log
from shared.segments.sealed import Segment, file_sizes
from shared.settings import Settings
from shared.sql.visits import FIRST_DAY, LAST_DAY

KEPT_QUARTER_ROWS_MAX = 10_000


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
    snapshot that may have to replace the newest has not folded it. `confirmed`: so is
    every deletion on hold, besides those that were confirmed one by one.
    """
    if not settings.log_max_bytes and not any(is_too_old(segment, now_ms, settings) for segment in sealed):
        log = LogFiles((), {}, ())  # no segment is due; the kept snapshots need not be read
    else:
        log = LogFiles(sealed, _sizes(data, sealed, now_ms, settings), [before, *kept_snapshots(data)])
    holds = Confirmed(confirmed, tuple(confirmed_holds(data)))
    return plan_expiry(at_last_look(data, before), after, log, now_ms, settings, holds)


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


def delete_expired(data: DataDirectory, plan: RetentionPlan, log: Log) -> None:
    """Delete the expired segments, with all their copies, then what confirmed that.
    Call it only after the commit of the snapshot that records this plan.
    """
    remove([path for item in plan.log.to_delete for path in (*item.target.copies, item.target.checksum)])
    _settle_confirmed(data, plan, log)


def _settle_confirmed(data: DataDirectory, plan: RetentionPlan, log: Log) -> None:
    """Forget the confirmed holds that this plan has carried out, or that fit none.
    Last: a run that is killed before repeats what is still confirmed.
    """
    done = {kind.kind for kind in plan.kinds if kind.is_confirmed}
    for hold in plan.confirmed:
        said = {"kind": hold.kind, "first": str(hold.first), "last": str(hold.last), "days": hold.days}
        if hold.kind in done:
            log.info("retention_confirmed", **said)
        else:
            reason = "nothing is on hold that it covers: what would be deleted is more, or nothing any more"
            action = "`foldlog retain --dry-run` shows what is on hold now; confirm that"
            log.warning("retention_confirmation_dropped", **said, reason=reason, action=action)
    if plan.confirmed:
        remove(temp_confirmations(data))
        forget_confirmed(data, plan.confirmed)


def warn_of_kept_data(log: Log, run: Retention) -> None:
    """A warning for each reason for which something expired is kept."""
    if run.skipped:
        log.warning("retention_skipped", reason=run.skipped)
    for kind, hold in run.on_hold.items():
        action = "`foldlog retain --dry-run` shows it; `foldlog retain --confirm`, or the page, carries it out"
        days = {"first": str(hold.first), "last": str(hold.last), "days": hold.days, "kept_days": hold.kept_days}
        reason = "it would delete most of this kind at once"
        log.warning("retention_on_hold", kind=kind, **days, bytes=hold.bytes, reason=reason, action=action)
    for kind, size in run.over_limit.items():
        log.warning("retention_over_limit", kind=kind, bytes=size, reason="the rest may not be deleted yet")


# --- expiry of a day's archive


def _events(context: PassContext, snapshot: Snapshot, day: date) -> int:
    """How many events the counters of a day contain. Raises PartDamaged."""
    return total_events(context.database, open_parts(context.data, "counters", day, snapshot.days[day].counters))


def _expire_archive(context: PassContext, snapshot: Snapshot, day: date) -> Snapshot:
    """The snapshot without the archive of a day, whose counters now include visitors,
    and quarters of an hour of each dimension with few.
    """
    if not snapshot.days[day].expired:
        counted = count_day(context, snapshot, day, snapshot.generation, few_rows_to_keep)
        snapshot = replace_day(snapshot, day, counted)
    kept = _with_visits(context, snapshot, day)
    create_kept_visitors(context.database)
    for local in _local_days(day, context.settings):
        utc_days = list(_utc_days(*local))
        # Once one of its UTC days has expired, the visitors of a local day cannot be
        # counted any more.
        if not any(snapshot.days[each].expired for each in utc_days if each in snapshot.days):
            count_visitors(context, snapshot, day, local, utc_days)
    zone = context.settings.timezone
    gone = replace(kept, archive=(), ids=(), sessions=(), yielded=(), merge_failure=None)
    expired = replace(gone, expired=True, visitor_zone=zone)
    written = merge_counters(context, day, expired, "(FROM kept_visitors)", snapshot.generation, all_parts=True)
    return replace_day(snapshot, day, replace(expired, counters=written))


def _with_visits(context: PassContext, snapshot: Snapshot, day: date) -> Day:
    """The day with the sums of its visits, which stay. They are not known where a part
    of its archive has gone before, or of that of the following day.
    """
    kept, fresh = snapshot.days[day], without_stale_visits(snapshot).days[day]
    if kept.expired or fresh.visits_of is not None or not FIRST_DAY < day < LAST_DAY:
        return fresh
    following = snapshot.days.get(day + timedelta(days=1))
    if following and following.expired:
        return fresh
    return make_visits(context, snapshot, day, snapshot.generation, sums_only=True)


def few_rows_to_keep(events: int, rows: int) -> bool:
    """Whether a dimension stays by quarter of an hour when its archive goes: then no
    archive answers for a time zone that cuts days elsewhere.
    """
    return rows < KEPT_QUARTER_ROWS_MAX or few_rows(events, rows)


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
