"""The files of a data directory as `foldlog doctor` examines them: formats, sizes,
times. Reads little besides names.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from foldlog.doctor import data_findings, host_findings, host_probe
from foldlog.doctor.data_findings import PartFiles
from foldlog.doctor.finding import Finding
from foldlog.doctor.host_probe import user_of
from foldlog.preflight import check_formats
from foldlog.processes import Running, lock_holder
from shared.disk.layout import DataDirectory
from shared.erasures import count_pending
from shared.generations.last_look import last_pass_ms, last_retention
from shared.generations.load import find_snapshot, kept_generations
from shared.generations.part_presence import is_present, referenced_parts
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot
from shared.holds import confirmed_kinds
from shared.segments.line import DataFromNewerVersion
from shared.segments.sealed import Segment, active_segments
from shared.settings import Settings
from shared.timestamps import DAY_S, epoch_ms

GROWTH_DAYS = 7
HOUR_S = 3600
FULL_SHARE = 0.9

Checks = Iterator[Finding]


def snapshot_of(data: DataDirectory) -> Snapshot:
    """The snapshot, or an empty one if none can be read, which `files` reports."""
    try:
        return find_snapshot(data).snapshot
    except (SnapshotDamaged, DataFromNewerVersion):
        return Snapshot()


def growth(data: DataDirectory, sealed: Sequence[Segment], settings: Settings) -> float | None:
    """Bytes per day that the data grew by in the last days. None if the log is younger
    than a day.

    A kind at its retention limit does not grow: retention deletes as much as is added.
    """
    now_s = time.time()
    sizes = [(segment.name.sealed_at.timestamp(), _bytes(segment)) for segment in sealed]
    oldest_s = min((at_s for at_s, _ in sizes), default=now_s)
    days = min(GROWTH_DAYS, int((now_s - oldest_s) / DAY_S))
    if days < 1:
        return None
    since_s = now_s - days * DAY_S
    grown = 0
    is_full_age = now_s - oldest_s > (settings.log_retention_days - 1) * DAY_S
    if not is_full_age and not _is_at(settings.log_max_bytes, sum(size for _, size in sizes)):
        grown += sum(size for at_s, size in sizes if since_s <= at_s <= now_s)
    kept = snapshot_of(data).days.values()
    fresh = [day for day in kept if epoch_ms(day.added_at) / 1000 >= since_s]
    if not _is_at(settings.archive_max_bytes, sum(part.bytes for day in kept for part in day.archive)):
        grown += sum(part.bytes for day in fresh for part in day.archive)
    grown += sum(part.bytes for day in fresh for part in day.counters)
    return grown / days


def pace(sealed: Sequence[Segment]) -> float:
    """Bytes a day that the log grows by, at the pace of the last hour."""
    now_s = time.time()
    written = sum(_bytes(segment) for segment in sealed if 0 <= now_s - segment.name.sealed_at.timestamp() <= HOUR_S)
    return written * DAY_S / HOUR_S


def _is_at(limit: int, size: int) -> bool:
    return bool(limit) and size >= FULL_SHARE * limit


def _bytes(segment: Segment) -> int:
    try:
        return segment.bytes
    except FileNotFoundError:
        return 0


def locks(data: DataDirectory) -> Iterator[Finding]:
    """Locks that a process of another user has taken, or could take."""
    files = [
        data.compact_lock,
        data.serve_lock,
        data.tokens_lock,
        data.goals_lock,
        data.annotations_lock,
        data.salt_lock,
        data.salt_store_lock,
        data.store_lock,
    ]
    owner = data.root.stat().st_uid if data.root.is_dir() else 0
    loose = [path for path in files if is_file(path) and path.stat().st_mode & 0o077]
    foreign = []
    for path in (*files, *active_segments(data).values()):
        pid = lock_holder(path)
        uid = user_of(pid) if pid else None
        if pid and uid is not None and uid not in {owner, 0}:
            foreign.append((path, pid, str(uid)))
    yield from data_findings.locks(loose, foreign)


def is_file(path: Path) -> bool:
    """False also of what this user may not see, which the check of permissions says."""
    try:
        return path.is_file()
    except PermissionError:
        return False


def clock(data: DataDirectory, sealed: Sequence[Segment]) -> Checks:
    yield host_findings.synchronised(host_probe.is_clock_synchronised())
    snapshot = snapshot_of(data)
    written = [(segment.name.sealed_at.timestamp(), segment.name.file) for segment in sealed]
    if looked_ms := last_pass_ms(data, snapshot):
        written.append((looked_ms / 1000, "the last pass"))
    newest_s, newest = max(written, default=(None, ""))
    yield host_findings.clock(time.time(), newest_s, newest, snapshot.retention.clock_suspect_since)


def files(data: DataDirectory, sealed: Sequence[Segment], running: Running) -> Checks:
    try:
        check_formats(data)
        found = find_snapshot(data)
    except DataFromNewerVersion as error:
        yield Finding("formats", "wrong", str(error), "install that version; docs/upgrade.md describes the way back")
        return
    except SnapshotDamaged as error:
        yield Finding("snapshot", "wrong", str(error), "restore it from a backup, or run `foldlog rebuild`")
        return
    snapshot = found.snapshot
    if found.damage:
        do = "nothing: the next pass replaces it by the newest kept one"
        yield Finding("snapshot", "warning", str(found.damage), do)
    elif snapshot.generation:
        yield _kept(data, snapshot)
    else:
        yield Finding("snapshot", "ok", "none yet: nothing has been folded")
    if snapshot.days:
        yield data_findings.parts(snapshot.generation, _parts(data, snapshot))
    yield data_findings.without_checksum(
        [
            segment.name.file
            for segment in sealed
            if not snapshot.has_passed(segment.name) and not segment.checksum.exists()
        ]
    )
    yield data_findings.set_aside(snapshot.set_aside)
    yield data_findings.day_merge(snapshot)
    on_hold = last_retention(data, snapshot).on_hold
    yield from data_findings.holds(on_hold, confirmed_kinds(data, on_hold), bool(running.serve))
    yield data_findings.erasures(count_pending(data), bool(running.serve))
    yield _conflicts(data, snapshot)


def _conflicts(data: DataDirectory, snapshot: Snapshot) -> Finding:
    """Compared with the oldest kept snapshot that is whole."""
    for generation in reversed(kept_generations(data)):
        path = data.kept_snapshot(generation)
        try:
            before = decode_snapshot(path.read_bytes(), path).totals.conflicts
        except (SnapshotDamaged, FileNotFoundError):
            continue
        return data_findings.conflicts(snapshot.totals.conflicts, snapshot.totals.conflicts - before, generation)
    return data_findings.conflicts(snapshot.totals.conflicts, snapshot.totals.conflicts, 0)


def _kept(data: DataDirectory, snapshot: Snapshot) -> Finding:
    kept = kept_generations(data)
    whole = f"generation {snapshot.generation:,} is whole"
    if not kept:
        return Finding("snapshot", "ok", whole)
    path = data.kept_snapshot(kept[0])
    try:
        decode_snapshot(path.read_bytes(), path)
    except SnapshotDamaged as error:
        do = "nothing: the next pass quarantines it; but if it happens again, check the disk (`dmesg`)"
        return Finding("snapshot", "warning", f"{whole}, but the newest kept one is not: {error}", do)
    return Finding("snapshot", "ok", f"{whole}, and so is the newest kept one ({kept[0]:,})")


def _parts(data: DataDirectory, snapshot: Snapshot) -> PartFiles:
    referenced = [(each.path(data), each.part) for each in referenced_parts(snapshot)]
    return PartFiles(len(referenced), [path for path, part in referenced if not is_present(path, part)])
