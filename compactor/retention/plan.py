"""What retention will take, decided before it touches anything: pure functions of
snapshot, log, clock and settings (P9).

First goes what is older than its retention, then the oldest of the rest until a kind
fits into its limit of bytes. Nothing goes that is not folded, that a kept snapshot
would miss, or that a late event may still have to be compared with. Two guards stand
before it: while the clock is in doubt nothing goes, and what would take most of a kind
at once waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Generic, Literal, NamedTuple, TypeVar

from shared.generations.snapshot import EMPTY_TIME, Retention, RetentionHold, Snapshot
from shared.lateness import ARCHIVE_MIN_DAYS
from shared.segments.sealed import Segment
from shared.settings import Settings
from shared.timestamps import DAY_S, epoch_ms, rfc3339, utc_day

DAY_MS = DAY_S * 1000
CLOCK_AHEAD_MAX_MS = 2 * DAY_MS
# How far the clock may step back before deletion stops for two days. Stricter than an
# hour, a small correction by NTP would stop it; the doctor reports those already.
CLOCK_STEP_BACK_MAX_MS = 3600 * 1000
CLOCK_STEADY_MS = CLOCK_AHEAD_MAX_MS
# A pass that takes more days of a kind than this, and more than half of them, was not
# meant or should be looked at.
UNGUARDED_DAYS = 7

Why = Literal["age", "size"]
T = TypeVar("T")


@dataclass(frozen=True)
class Item(Generic[T]):
    """A segment, or a day of the archive or the counters. `why` it goes, or None;
    `is_free`: it may go for its size.

    `day` is the UTC day that it is of: for a segment that on which it was sealed.
    """

    what: T
    day: date
    bytes: int
    why: Why | None
    is_free: bool


@dataclass(frozen=True)
class KindPlan(Generic[T]):
    """What goes of one kind, oldest first.

    `excess_bytes` are above its limit once nothing in it is too old, `over_bytes` those
    that stay because no more of it may go.
    """

    kind: str
    kept_days: int = 0
    past: tuple[Item[T], ...] = ()
    excess_bytes: int = 0
    over_bytes: int = 0
    is_held: bool = False

    @property
    def going(self) -> tuple[Item[T], ...]:
        """What is past its retention, or nothing while that is held for a person to
        look at.
        """
        return () if self.is_held else self.past

    @property
    def held(self) -> RetentionHold | None:
        """What is held, as the snapshot says it."""
        if not self.is_held:
            return None
        days = {item.day for item in self.past}
        return RetentionHold(len(days), self.kept_days, sum(item.bytes for item in self.past), min(days), max(days))


@dataclass(frozen=True)
class RetentionPlan:
    """What a pass deletes. `skipped` says why it deletes nothing, `doubted_since` since
    when the clock is not believed.
    """

    at: str
    skipped: str | None = None
    doubted_since: str | None = None
    log: KindPlan[Segment] = KindPlan("log")
    archive: KindPlan[date] = KindPlan("archive")
    counters: KindPlan[date] = KindPlan("counters")

    @property
    def kinds(self) -> tuple[KindPlan[Segment], KindPlan[date], KindPlan[date]]:
        return self.log, self.archive, self.counters

    def record(self, last: Retention) -> Retention:
        """This run as the snapshot says it, after the `last` one."""
        held = {plan.kind: plan.held for plan in self.kinds if plan.held is not None}
        before = last.succeeded_at or (None if last.at == EMPTY_TIME else last.at)
        return Retention(
            at=self.at,
            segments=len(self.log.going),
            archive_days=len(self.archive.going),
            counter_days=len(self.counters.going),
            skipped=self.skipped,
            doubted_since=self.doubted_since,
            succeeded_at=before if self.skipped or held else self.at,
            held=held,
            over_limit={plan.kind: plan.over_bytes for plan in self.kinds if plan.over_bytes},
        )


class LogFiles(NamedTuple):
    """What must be known of the log.

    Its sealed segments, the bytes of its files by name (of all where there is a limit,
    else of segments whose time is up), and the snapshots that may have to take the
    place of the newest.
    """

    sealed: Sequence[Segment]
    sizes: Mapping[str, int]
    spares: Sequence[Snapshot]


def plan_expiry(
    before: Snapshot, after: Snapshot, log: LogFiles, now_ms: int, settings: Settings, *, is_confirmed: bool = False
) -> RetentionPlan:
    """What retention takes between the published snapshot and the next one.
    `is_confirmed`: a person wants it all to go.
    """
    if doubt := clock_doubt(before, now_ms):
        return RetentionPlan(rfc3339(now_ms), doubt, doubted_since(before, now_ms))
    segments = _segments(after, log, now_ms, settings)
    log_bytes = sum(log.sizes.values())
    log_days = {segment.name.sealed_at.date() for segment in log.sealed}
    log_plan = _plan_kind("log", segments, log_days, log_bytes, settings.log_max_bytes, is_confirmed)
    archived = {day: sum(part.bytes for part in kept.archive) for day, kept in after.days.items() if kept.archive}
    days = _archive_days(after, archived, now_ms, settings)
    archive = _plan_kind("archive", days, archived, sum(archived.values()), settings.archive_max_bytes, is_confirmed)
    remaining = archived.keys() - {item.what for item in archive.going}
    counted = {day: kept.counters.bytes if kept.counters else 0 for day, kept in after.days.items()}
    days = _counter_days(after, {day: size for day, size in counted.items() if day not in remaining}, now_ms, settings)
    counters = _plan_kind("counters", days, counted, sum(counted.values()), settings.counters_max_bytes, is_confirmed)
    return RetentionPlan(rfc3339(now_ms), log=log_plan, archive=archive, counters=counters)


def _plan_kind(
    kind: str, items: Iterable[Item[T]], kept: Iterable[date], total: int, max_bytes: int, is_confirmed: bool
) -> KindPlan[T]:
    """Of items that come oldest first: those past their age, then others until the kind
    fits into its limit.
    """
    past: list[Item[T]] = []
    over = total - max_bytes if max_bytes else 0
    for item in items:
        if not item.why and (over <= 0 or not item.is_free):
            break  # as is every later one
        past.append(item if item.why else replace(item, why="size"))
        over -= item.bytes
    by_size = sum(item.bytes for item in past if item.why == "size")
    excess = max(0, over + by_size) if max_bytes else 0
    days, kept_days = {item.day for item in past}, len(set(kept))
    is_held = len(days) > UNGUARDED_DAYS and 2 * len(days) > kept_days and not is_confirmed
    return KindPlan(kind, kept_days, tuple(past), excess, max(0, over) if max_bytes else 0, is_held)


def _segments(after: Snapshot, log: LogFiles, now_ms: int, settings: Settings) -> Iterator[Item[Segment]]:
    """Segments that may go, by when they were sealed: folded in this snapshot and in
    all that may take its place.
    """
    for segment in sorted(log.sealed, key=lambda segment: (segment.name.sealed_at, segment.name)):
        is_old = is_past(segment, now_ms, settings)
        if all(snapshot.has_folded(segment.name) for snapshot in (after, *log.spares)):
            size = log.sizes.get(segment.path.name, 0) + log.sizes.get(segment.name.checksum, 0)
            yield Item(segment, segment.name.sealed_at.date(), size, "age" if is_old else None, is_free=True)


def is_past(segment: Segment, now_ms: int, settings: Settings) -> bool:
    """Whether it was sealed longer ago than the log is kept."""
    return segment.name.sealed_at.timestamp() * 1000 < now_ms - settings.log_retention_days * DAY_MS


def _archive_days(after: Snapshot, archived: Mapping[date, int], now_ms: int, settings: Settings) -> list[Item[date]]:
    """Days that have an archive. The older the later of the day and the last fold into
    it.
    """
    oldest = utc_day(now_ms) - timedelta(days=settings.archive_retention_days)
    oldest_free = utc_day(now_ms) - timedelta(days=ARCHIVE_MIN_DAYS)
    return [
        Item(day, day, archived[day], "age" if since < oldest else None, is_free=since < oldest_free)
        for since, day in sorted((_since(after, day), day) for day in archived)
    ]


def _counter_days(after: Snapshot, counted: Mapping[date, int], now_ms: int, settings: Settings) -> list[Item[date]]:
    """Days of which the counters are all that is left. 0 days of retention keep them
    for ever.
    """
    oldest = utc_day(now_ms) - timedelta(days=settings.counters_retention_days)
    return [
        Item(
            day, day, counted[day], "age" if settings.counters_retention_days and since < oldest else None, is_free=True
        )
        for since, day in sorted((_since(after, day), day) for day in counted)
    ]


def _since(snapshot: Snapshot, day: date) -> date:
    return max(day, utc_day(epoch_ms(snapshot.days[day].added_at)))


def clock_doubt(snapshot: Snapshot, now_ms: int) -> str | None:
    """Why nothing may be deleted in this pass (P9), or None. A clock that jumped must
    not make anything old.

    A wrong clock may stay wrong, and the next pass finds it where this one left it. So
    after a jump nothing is deleted until the clock has been steady for as long as
    somebody may take to notice.
    """
    if snapshot.generation == 0:
        return None
    last_ms = epoch_ms(snapshot.as_of)
    if now_ms < last_ms:
        return "the clock is behind the last snapshot"
    if now_ms > last_ms + CLOCK_AHEAD_MAX_MS:
        return "the clock is more than 48 hours ahead of the last snapshot"
    since = snapshot.retention.doubted_since
    if since and now_ms < epoch_ms(since) + CLOCK_STEADY_MS:
        return (
            f"the clock jumped; if it stays steady, retention goes on at {rfc3339(epoch_ms(since) + CLOCK_STEADY_MS)}"
        )
    return None


def doubted_since(snapshot: Snapshot, now_ms: int) -> str | None:
    """When, by the clock of now, it jumped; None once it has been steady for long
    enough.
    """
    if snapshot.generation == 0:
        return None
    last_ms = epoch_ms(snapshot.as_of)
    if not last_ms - CLOCK_STEP_BACK_MAX_MS <= now_ms <= last_ms + CLOCK_AHEAD_MAX_MS:
        return rfc3339(now_ms)
    return snapshot.retention.doubted_since if clock_doubt(snapshot, now_ms) else None
