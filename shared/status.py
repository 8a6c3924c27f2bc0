"""The state of a data directory, for `foldlog status` and GET /admin/api/status: the
balance of P8, the segments, the lag, the disk.

The types are both the answer and its schema in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import date
from itertools import islice

import msgspec

from shared.answer_types import Count, Instant
from shared.disk.layout import DataDirectory
from shared.disk.room import least_room
from shared.erasures import count_pending
from shared.generations.last_look import last_pass_ms, last_retention
from shared.generations.load import find_snapshot
from shared.generations.part_presence import missing_parts
from shared.generations.snapshot import Retention, RetentionHold, Snapshot
from shared.generations.summary import SUMMARY_DAYS, Summary
from shared.holds import confirmed_kinds
from shared.segments.quarantine import lines_quarantined_by_recovery
from shared.segments.sealed import Segment, active_segments, count_lines, file_sizes, sealed_segments
from shared.settings import Settings
from shared.stores.condition import StoreStatus, store_status, store_warning
from shared.timestamps import now_ms
from shared.undeclared_proxy import warning

_TRIES = 5
RECENT_DAYS = 2


class Balance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """P8: accepted = counted + duplicates + quarantined + erased + set_aside +
    not_yet_folded.

    `difference` is the remainder, 0 unless events were lost.
    """

    accepted: Count
    counted: Count
    duplicates: Count
    quarantined: Count
    erased: Count
    set_aside: Count
    not_yet_folded: Count
    difference: int
    conflicts: Count


class Segments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`active` are bytes per writer, `missing` sequence numbers per writer."""

    active: dict[str, Count]
    sealed_unfolded: Count
    missing: dict[str, list[int]]
    damaged: Count


class LastFold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    segments: Count
    lines: Count
    seconds: float


class LastRetention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`skipped`: why nothing was deleted. `on_hold` and `over_limit` (bytes) are by
    kind: log, archive, counters. `confirmed`: the kinds whose deletion on hold is
    confirmed, and waits for the next pass.
    """

    at: Instant
    segments: Count
    archive_days: Count
    counter_days: Count
    skipped: str | None
    last_success: Instant
    on_hold: dict[str, RetentionHold]
    over_limit: dict[str, Count]
    confirmed: list[str]


class Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    free_bytes: Count
    reserve_bytes: Count
    log_bytes: Count
    archive_bytes: Count
    counters_bytes: Count


class Days(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first and the last UTC day of the snapshot."""

    first: date
    last: date


class SetAsideLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines of a segment that could not be folded, all of some bytes or those of one
    UTC day; `tries`: how often a pass failed on them.
    """

    segment: str
    day: date | None
    lines: Count
    bytes: Count
    reason: str
    tries: Count


class DayTotal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Over all sites, without bots, on a day of FOLDLOG_TIMEZONE. `visitors` is null
    until they are counted.
    """

    day: date
    events: Count
    visitors: Count | None


class CappedDay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The dimensions of a UTC day that have so many values that some are counted as
    `(other)`, `capped`, or that the archive answers for, `uncounted`.
    """

    day: date
    capped: list[str]
    uncounted: list[str]


class AbsorbedInstance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A retired host of the store whose `events` are among those of this directory."""

    instance: str
    as_of: Instant
    events: Count


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    balance: Balance
    segments: Segments
    generation: Count
    as_of: Instant
    lag_s: float | None
    last_fold: LastFold
    last_retention: LastRetention
    disk: Disk
    erasures_pending: Count
    warnings: list[str]
    days: Days | None
    set_aside: list[SetAsideLines]
    recent: list[DayTotal]
    capped: list[CappedDay]
    absorbed: list[AbsorbedInstance]
    store: StoreStatus | None


class Freshness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to when events are counted, for a token of these `sites` only."""

    sites: list[str]
    generation: Count
    as_of: Instant
    lag_s: float | None


def read_freshness(data: DataDirectory, sites: Iterable[str]) -> Freshness:
    """What a status says of no site."""
    snapshot, _, _ = find_snapshot(data)
    return Freshness(list(sites), snapshot.generation, snapshot.as_of, _lag_s(data, snapshot))


def read_status(data: DataDirectory, settings: Settings) -> Status:
    """The status now; docs/api.md explains each field. Of the log it reads only what is
    not folded.
    """
    for _ in range(_TRIES):
        try:
            return _read_status(data, settings)
        except FileNotFoundError:
            continue  # a segment was sealed or removed after it was listed
    return _read_status(data, settings)


def _lag_s(data: DataDirectory, snapshot: Snapshot) -> float | None:
    """Seconds since the last pass; None before the first."""
    last_ms = last_pass_ms(data, snapshot)
    return max(0.0, (now_ms() - last_ms) / 1000) if last_ms else None


def _read_status(data: DataDirectory, settings: Settings) -> Status:
    snapshot, _, damage = find_snapshot(data)
    store = store_status(data, settings, snapshot)
    active = active_segments(data)
    sealed = sealed_segments(data)
    unfolded = [segment for segment in sealed if not snapshot.has_passed(segment.name)]
    lines = sum(map(count_lines, active.values()))
    lines += sum(count_lines(segment.path, snapshot.partial.get(segment.name.stem, 0)) for segment in unfolded)
    confirmed = confirmed_kinds(data, snapshot.retention.on_hold)
    warnings = [
        warning(data, settings),
        str(damage) if damage else None,
        missing_parts_warning(data, snapshot),
        *_retention_warnings(snapshot.retention, confirmed),
        merge_warning(snapshot),
        store_warning(store, snapshot.generation, settings),
    ]
    return Status(
        balance=make_balance(snapshot, lines, lines_quarantined_by_recovery(data)),
        segments=Segments(
            active={writer: path.stat().st_size for writer, path in active.items()},
            sealed_unfolded=len(unfolded),
            missing=missing_segments(snapshot, sealed),
            damaged=snapshot.totals.damaged_segments,
        ),
        generation=snapshot.generation,
        as_of=snapshot.as_of,
        lag_s=_lag_s(data, snapshot),
        last_fold=LastFold(snapshot.last_pass.segments, snapshot.last_pass.lines, snapshot.last_pass.seconds),
        last_retention=_last_retention(last_retention(data, snapshot), confirmed),
        disk=_disk(data, settings, snapshot),
        erasures_pending=count_pending(data),
        warnings=[text for text in warnings if text],
        days=Days(min(snapshot.days), max(snapshot.days)) if snapshot.days else None,
        set_aside=[
            SetAsideLines(each.segment, each.day, each.lines, each.bytes, each.reason, each.tries)
            for each in snapshot.set_aside
        ],
        recent=_recent(snapshot.summary),
        capped=list(islice(_capped_days(snapshot), SUMMARY_DAYS)),
        absorbed=[
            AbsorbedInstance(str(each.instance), each.as_of, each.events) for each in snapshot.absorbed_instances
        ],
        store=store,
    )


def _recent(summary: Summary | None) -> list[DayTotal]:
    """The last days of the summary, the newest first."""
    if summary is None:
        return []
    return list(map(DayTotal, summary.days[:RECENT_DAYS], summary.events, summary.visitors))


def _capped_days(snapshot: Snapshot) -> Iterator[CappedDay]:
    """The newest first."""
    for day, kept in sorted(snapshot.days.items(), reverse=True):
        if kept.capped or kept.uncounted:
            yield CappedDay(day, list(kept.capped), list(kept.uncounted))


def missing_segments(snapshot: Snapshot, sealed: Iterable[Segment]) -> dict[str, list[int]]:
    """The gaps in the sequence numbers of each writer. A segment that is on disk is
    not missing: it could not be folded when a later one was.
    """
    present = {(segment.name.writer, segment.name.sequence) for segment in sealed} if snapshot.missing else set()
    gaps = {
        writer: [number for number in numbers if (writer, number) not in present]
        for writer, numbers in snapshot.missing.items()
    }
    return {writer: numbers for writer, numbers in gaps.items() if numbers}


def _last_retention(run: Retention, confirmed: list[str]) -> LastRetention:
    return LastRetention(
        at=run.at,
        segments=run.segments,
        archive_days=run.archive_days,
        counter_days=run.counter_days,
        skipped=run.skipped,
        last_success=run.last_success,
        on_hold=run.on_hold,
        over_limit=run.over_limit,
        confirmed=confirmed,
    )


def _disk(data: DataDirectory, settings: Settings, snapshot: Snapshot) -> Disk:
    return Disk(
        free_bytes=least_room(data).free_bytes,
        reserve_bytes=settings.disk_reserve,
        log_bytes=sum(file_sizes(data).values()),
        archive_bytes=sum(part.bytes for day in snapshot.days.values() for part in day.archive),
        counters_bytes=sum(part.bytes for day in snapshot.days.values() for part in day.counters),
    )


def _retention_warnings(run: Retention, confirmed: Collection[str]) -> Iterator[str]:
    """A sentence for each kind with a deletion on hold or above its limit."""
    for kind, hold in run.on_hold.items():
        action = "it is confirmed, and the next pass deletes them"
        if kind not in confirmed:
            action = (
                "`foldlog retain --dry-run` shows the reason; `foldlog retain --confirm`, or Holds on the page, "
                "deletes them"
            )
        yield (
            f"a deletion by retention is on hold: {hold.days} of {hold.kept_days} days of the {kind}, {hold.first} to "
            f"{hold.last}; {action}"
        )
    for kind, size in run.over_limit.items():
        limit = f"FOLDLOG_{kind.upper()}_MAX_BYTES"
        yield (
            f"the {kind} is {size:,} bytes over {limit}, and no more of it may be deleted yet; if this persists, "
            f"raise the limit"
        )


def merge_warning(snapshot: Snapshot) -> str | None:
    """The sentence for days that could not be merged; None if there are none."""
    days = snapshot.unmerged_days()
    failure = snapshot.days[days[0]].merge_failure if days else None
    if failure is None:
        return None
    return (
        f"{len(days)} days could not be merged, such as {days[0]} ({failure.reason}): reports of them are exact, but "
        "cost more; `foldlog compact --retry` tries again"
    )


def missing_parts_warning(data: DataDirectory, snapshot: Snapshot) -> str | None:
    """The sentence for a snapshot with missing parts, such as a copy of a running
    directory before its rebuild.
    """
    missing = list(missing_parts(data, snapshot))
    if not missing:
        return None
    if find_snapshot(data).snapshot.generation != snapshot.generation:
        return None  # an erasure deleted them since the snapshot was read
    return (
        f"{len(missing)} parts that snapshot.json references are missing, such as {missing[0]}: run `foldlog rebuild`"
    )


def make_balance(snapshot: Snapshot, not_yet_folded: int, recovery_quarantined: int) -> Balance:
    """`recovery_quarantined`: lines that recovery could not keep, which no pass
    counts.
    """
    totals = snapshot.totals
    accepted = totals.lines + recovery_quarantined + not_yet_folded
    quarantined = totals.quarantined + recovery_quarantined
    return Balance(
        accepted=accepted,
        counted=totals.counted,
        duplicates=totals.duplicates,
        quarantined=quarantined,
        erased=totals.erased,
        set_aside=totals.set_aside,
        not_yet_folded=not_yet_folded,
        difference=accepted - totals.accounted - recovery_quarantined - not_yet_folded,
        conflicts=totals.conflicts,
    )
