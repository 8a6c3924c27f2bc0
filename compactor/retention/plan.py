"""What retention deletes and why, decided before anything is touched: pure functions of
snapshot, log, clock and settings (P9).

First everything older than its retention expires, then the oldest of the rest until a
kind fits into its limit of bytes. Three things never expire: what is not folded, what a
kept snapshot would lack, and days that a late event may still be compared with. Two
guards come first: while the clock is suspect nothing is deleted (clock_guard.py), and a
deletion of most of a kind at once needs confirmation, of these days (shared/holds.py)
or of whatever it is (`foldlog retain --confirm`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Generic, Literal, NamedTuple, TypeVar

from compactor.retention.clock_guard import DAY_MS, clock_anomaly, clock_suspect_since
from shared.disk.layout import ConfirmedHold
from shared.generations.snapshot import EMPTY_TIME, Retention, RetentionHold, Snapshot
from shared.lateness import ARCHIVE_MIN_DAYS
from shared.segments.sealed import Segment
from shared.settings import Settings
from shared.timestamps import epoch_ms, rfc3339, utc_day

# Deleting more than this many days and more than half of a kind needs confirmation.
UNCONFIRMED_DAYS_MAX = 7

Reason = Literal["age", "size"]
T = TypeVar("T")


@dataclass(frozen=True)
class Item(Generic[T]):
    """A segment, or a day of the archive or of the counters.

    `day` is its UTC day: of a segment, the day on which it was sealed. `reason` is why
    it expires, or None. `evictable`: it may be deleted to meet a limit of bytes.
    """

    target: T
    day: date
    bytes: int
    reason: Reason | None
    evictable: bool


@dataclass(frozen=True)
class KindPlan(Generic[T]):
    """What expires of one kind, oldest first.

    `excess_bytes`: above its limit once everything too old is deleted.
    `undeletable_bytes`: above its limit, but not evictable. `is_confirmed`: it would be
    on hold, and was confirmed.
    """

    kind: str
    kept_days: int = 0
    expired: tuple[Item[T], ...] = ()
    excess_bytes: int = 0
    undeletable_bytes: int = 0
    on_hold: bool = False
    is_confirmed: bool = False

    @property
    def to_delete(self) -> tuple[Item[T], ...]:
        """What is expired; nothing while the deletion is on hold."""
        return () if self.on_hold else self.expired

    @property
    def hold(self) -> RetentionHold | None:
        """The deletion on hold, as it is recorded in the snapshot."""
        if not self.on_hold:
            return None
        days = {item.day for item in self.expired}
        size = sum(item.bytes for item in self.expired)
        return RetentionHold(len(days), self.kept_days, size, min(days), max(days))


@dataclass(frozen=True)
class RetentionPlan:
    """What a pass deletes.

    `at` and `clock_suspect_since` are times in RFC 3339. `skipped` is why it deletes
    nothing, or None. `confirmed`: the holds that were confirmed and are settled by this
    run, whether it carries them out or finds that they fit none; a run that is skipped
    settles none.
    """

    at: str
    skipped: str | None = None
    clock_suspect_since: str | None = None
    log: KindPlan[Segment] = KindPlan("log")
    archive: KindPlan[date] = KindPlan("archive")
    counters: KindPlan[date] = KindPlan("counters")
    confirmed: tuple[ConfirmedHold, ...] = ()

    @property
    def kinds(self) -> tuple[KindPlan[Segment], KindPlan[date], KindPlan[date]]:
        return self.log, self.archive, self.counters

    @property
    def deletes(self) -> bool:
        """Whether it deletes anything."""
        return any(plan.to_delete for plan in self.kinds)

    def record(self, last: Retention) -> Retention:
        """The record of this run for the snapshot, after the `last` one."""
        holds = {plan.kind: plan.hold for plan in self.kinds if plan.hold is not None}
        last_success = last.succeeded_at or (None if last.at == EMPTY_TIME else last.at)
        return Retention(
            at=self.at,
            segments=len(self.log.to_delete),
            archive_days=len(self.archive.to_delete),
            counter_days=len(self.counters.to_delete),
            skipped=self.skipped,
            clock_suspect_since=self.clock_suspect_since,
            succeeded_at=last_success if self.skipped or holds else self.at,
            on_hold=holds,
            over_limit={plan.kind: plan.undeletable_bytes for plan in self.kinds if plan.undeletable_bytes},
        )


class Confirmed(NamedTuple):
    """What is confirmed: every deletion on hold, or these `holds`."""

    every: bool = False
    holds: tuple[ConfirmedHold, ...] = ()

    def covers(self, kind: str, days: Collection[date]) -> bool:
        return self.every or any(each.covers(kind, min(days), max(days), len(days)) for each in self.holds)


NOTHING_CONFIRMED = Confirmed()


class LogFiles(NamedTuple):
    """The log as the plan needs it.

    `sizes`: bytes of its files by name (of all files where there is a limit, otherwise
    of expired segments). `fallbacks`: the kept snapshots, one of which may have to
    replace the newest.
    """

    sealed: Sequence[Segment]
    sizes: Mapping[str, int]
    fallbacks: Sequence[Snapshot]


def plan_expiry(
    before: Snapshot,
    after: Snapshot,
    log: LogFiles,
    now_ms: int,
    settings: Settings,
    confirmed: Confirmed = NOTHING_CONFIRMED,
) -> RetentionPlan:
    """What expires between the published snapshot and the next one. A deletion on hold
    that is larger than what was `confirmed` stays on hold.
    """
    if anomaly := clock_anomaly(before, now_ms):
        return RetentionPlan(rfc3339(now_ms), anomaly, clock_suspect_since(before, now_ms))
    archive = _plan_archive(after, now_ms, settings, confirmed)
    return RetentionPlan(
        rfc3339(now_ms),
        log=_plan_log(after, log, now_ms, settings, confirmed),
        archive=archive,
        counters=_plan_counters(after, archive, now_ms, settings, confirmed),
        confirmed=confirmed.holds,
    )


def _plan_log(
    after: Snapshot, log: LogFiles, now_ms: int, settings: Settings, confirmed: Confirmed
) -> KindPlan[Segment]:
    items = _deletable_segments(after, log, now_ms, settings)
    days = {segment.name.sealed_at.date() for segment in log.sealed}
    return _plan_kind("log", items, days, sum(log.sizes.values()), settings.log_max_bytes, confirmed)


def _plan_archive(after: Snapshot, now_ms: int, settings: Settings, confirmed: Confirmed) -> KindPlan[date]:
    sizes = {day: sum(part.bytes for part in kept.archive) for day, kept in after.days.items() if kept.archive}
    items = _archive_days(after, sizes, now_ms, settings)
    return _plan_kind("archive", items, sizes, sum(sizes.values()), settings.archive_max_bytes, confirmed)


def _plan_counters(
    after: Snapshot, archive: KindPlan[date], now_ms: int, settings: Settings, confirmed: Confirmed
) -> KindPlan[date]:
    """The counters of a day are kept for as long as it has an archive."""
    sizes = {day: sum(part.bytes for part in kept.counters) for day, kept in after.days.items()}
    archived = {day for day, kept in after.days.items() if kept.archive} - {item.target for item in archive.to_delete}
    items = _counter_days(after, {day: size for day, size in sizes.items() if day not in archived}, now_ms, settings)
    return _plan_kind("counters", items, sizes, sum(sizes.values()), settings.counters_max_bytes, confirmed)


def _plan_kind(
    kind: str, items: Iterable[Item[T]], kept: Iterable[date], total: int, max_bytes: int, confirmed: Confirmed
) -> KindPlan[T]:
    """Of `items`, oldest first: those past their age, then more of them until the kind
    fits into its limit.
    """
    expired: list[Item[T]] = []
    over = total - max_bytes if max_bytes else 0
    for item in items:
        if not item.reason and (over <= 0 or not item.evictable):
            break  # every later item is younger
        expired.append(item if item.reason else replace(item, reason="size"))
        over -= item.bytes
    by_size = sum(item.bytes for item in expired if item.reason == "size")
    excess = max(0, over + by_size) if max_bytes else 0
    days, kept_days = {item.day for item in expired}, len(set(kept))
    on_hold = len(days) > UNCONFIRMED_DAYS_MAX and 2 * len(days) > kept_days
    is_confirmed = on_hold and confirmed.covers(kind, days)
    undeletable = max(0, over) if max_bytes else 0
    return KindPlan(
        kind,
        kept_days,
        tuple(expired),
        excess,
        undeletable,
        on_hold=on_hold and not is_confirmed,
        is_confirmed=is_confirmed,
    )


def _deletable_segments(after: Snapshot, log: LogFiles, now_ms: int, settings: Settings) -> Iterator[Item[Segment]]:
    """Segments by the time of their seal. Left out are those that this snapshot or one
    of the fallbacks has not folded.
    """
    for segment in sorted(log.sealed, key=lambda segment: (segment.name.sealed_at, segment.name)):
        if all(snapshot.has_folded(segment.name) for snapshot in (after, *log.fallbacks)):
            size = log.sizes.get(segment.path.name, 0) + log.sizes.get(segment.name.checksum, 0)
            reason: Reason | None = "age" if is_too_old(segment, now_ms, settings) else None
            yield Item(segment, segment.name.sealed_at.date(), size, reason, evictable=True)


def is_too_old(segment: Segment, now_ms: int, settings: Settings) -> bool:
    """Whether it was sealed longer ago than the log is kept."""
    return segment.name.sealed_at.timestamp() * 1000 < now_ms - settings.log_retention_days * DAY_MS


def _archive_days(after: Snapshot, sizes: Mapping[date, int], now_ms: int, settings: Settings) -> Iterator[Item[date]]:
    """Days that have an archive, oldest first."""
    oldest = utc_day(now_ms) - timedelta(days=settings.archive_retention_days)
    oldest_evictable = utc_day(now_ms) - timedelta(days=ARCHIVE_MIN_DAYS)
    for since, day in _by_age(after, sizes, now_ms):
        yield Item(day, day, sizes[day], "age" if since < oldest else None, evictable=since < oldest_evictable)


def _counter_days(after: Snapshot, sizes: Mapping[date, int], now_ms: int, settings: Settings) -> Iterator[Item[date]]:
    """Days that have counters only, oldest first. 0 days of retention keep counters for
    ever.
    """
    oldest = utc_day(now_ms) - timedelta(days=settings.counters_retention_days)
    for since, day in _by_age(after, sizes, now_ms):
        is_old = settings.counters_retention_days > 0 and since < oldest
        yield Item(day, day, sizes[day], "age" if is_old else None, evictable=True)


def _by_age(snapshot: Snapshot, days: Iterable[date], now_ms: int) -> list[tuple[date, date]]:
    """Pairs of the day from which its age counts, and the day itself.

    That is the day or that of the last fold into it, whichever is later. A day that has
    not come yet does not count: an imported line of the year 9999 would be kept for
    ever.
    """
    today = utc_day(now_ms)
    added = {day: utc_day(epoch_ms(snapshot.days[day].added_at)) for day in days}
    return sorted((max(day, at) if day <= today else at, day) for day, at in added.items())
