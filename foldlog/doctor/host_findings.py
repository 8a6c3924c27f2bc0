"""Findings of `foldlog doctor` about the host: pure functions from values that
host_probe.py reads.
"""

from __future__ import annotations

import math
from pathlib import Path

from foldlog.doctor.file_systems import UNSAFE_MOUNT_OPTIONS, Mount, network_reason
from foldlog.doctor.finding import Finding, Level
from foldlog.quantities import counted, size, span
from shared.settings import OTHER_DESCRIPTORS, Settings

INODES_MIN = 10_000
DAYS_MIN = 14
# How far the clock may be behind the newest file without a warning: a warning costs
# nothing, so it comes long before retention stops deleting.
CLOCK_BEHIND_WARN_S = 60
# Memory of the fold's process and of a reader beside that of DuckDB (docs/settings.md).
BESIDE_ENGINE_BYTES = 150 << 20

_LOCAL_DISK = "set FOLDLOG_DATA_DIR to a directory on a disk of this host (ext4, XFS, btrfs, ZFS)"


def file_system(directory: Path, mount: Mount | None) -> Finding:
    """Whether locks, renames and fsync work where the data is."""
    name = "file system"
    if mount is None:
        return Finding(name, "unknown", "the file system of the data is unknown: /proc is not available")
    here = f"{mount.type}, mounted at {mount.point}"
    if why := network_reason(directory, mount):
        return Finding(name, "wrong", why, _LOCAL_DISK)
    if mount.kind == "fuse":
        found = f"{here}: whether locks and fsync work on this FUSE file system is unknown"
        return Finding(name, "wrong", found, _LOCAL_DISK)
    if "ro" in mount.options:
        do = f"mount -o remount,rw {mount.point} (if this is unexpected, `dmesg` shows the reason)"
        return Finding(name, "wrong", f"{here}, read-only: nothing can be written", do)
    if mount.kind == "layer":
        found = f"{here}: a layer of this container, deleted together with it"
        return Finding(name, "warning", found, f"mount a volume at {directory}")
    if mount.kind == "memory":
        return Finding(name, "warning", f"{here}: in memory, lost at the next restart of the host", _LOCAL_DISK)
    if unsafe := sorted(mount.options & UNSAFE_MOUNT_OPTIONS):
        found = f"{here}, with {', '.join(unsafe)}: a power cut may lose synced data"
        return Finding(name, "warning", found, "remove the option from /etc/fstab and mount again")
    return Finding(name, "ok", here)


def open_files(hard: float, whose: str, settings: Settings) -> Finding:
    """Whether the hard limit allows a worker the descriptors that
    FOLDLOG_MAX_CONNECTIONS needs. A worker raises its soft limit itself.
    """
    needed = settings.max_connections + OTHER_DESCRIPTORS
    if hard >= needed:
        return Finding("open files", "ok", f"{_limit(hard)} {whose}, {needed:,} are enough")
    room = max(16, int(hard) - OTHER_DESCRIPTORS)
    return Finding(
        "open files",
        "warning",
        f"{_limit(hard)} {whose}: a worker accepts {room:,} connections, FOLDLOG_MAX_CONNECTIONS is "
        f"{settings.max_connections:,}",
        f"set LimitNOFILE={needed} in the unit (or `ulimit -Hn {needed}`), or lower FOLDLOG_MAX_CONNECTIONS",
    )


def file_size(hard: float, whose: str, settings: Settings) -> Finding:
    """Whether the hard limit allows files of the sizes that Foldlog writes."""
    if math.isinf(hard):
        return Finding("file size", "ok", f"no limit {whose}")
    return Finding(
        "file size",
        "wrong" if hard < settings.segment_max_bytes else "warning",
        f"limit {size(int(hard))} {whose}; a segment grows to {size(settings.segment_max_bytes)}, a part may grow "
        f"larger",
        "set LimitFSIZE=infinity in the unit (or `ulimit -f unlimited`)",
    )


def core_dumps(pattern: str, limit: float, whose: str) -> Finding:
    """Whether memory of a process that crashes stays on this host."""
    name = "core dumps"
    if pattern.startswith("|"):
        program = pattern[1:].split()[0] if pattern[1:].split() else "a program"
        found = f"the kernel hands memory of crashed processes to {program}, whatever their limit"
        do = "`Storage=none` in /etc/systemd/coredump.conf, or `sysctl kernel.core_pattern=core`"
        return Finding(name, "warning", f"{found}: that of the service is left out, that of commands is not", do)
    if limit:
        found = f"limit {size(int(limit)) if math.isfinite(limit) else 'none'} {whose}"
        do = "set LimitCORE=0 in the unit (or `ulimit -c 0`)"
        where = f": memory of a crashed command would be kept as {pattern}" if pattern else ""
        return Finding(name, "warning", f"{found}{where}", do)
    return Finding(name, "ok", f"none {whose}")


def _limit(limit: float) -> str:
    return "no limit" if math.isinf(limit) else f"{limit:,.0f}"


def inodes(free: int, total: int) -> Finding:
    """Whether files can be created. `total` is 0 on a file system without a fixed
    number (btrfs).
    """
    if not total:
        return Finding("inodes", "ok", "created as needed")
    found = f"{free:,} of {total:,} are free"
    if free < INODES_MIN:
        level: Level = "wrong" if free < INODES_MIN // 10 else "warning"
        return Finding("inodes", level, found, "`df -i` and `du --inodes` show what uses them")
    return Finding("inodes", "ok", found)


def memory(limit: int | None, settings: Settings) -> Finding:
    """Whether a fold and a report in each worker fit at the same time."""
    processes = 1 + settings.workers
    need = settings.fold_memory + settings.workers * settings.report_memory + processes * BESIDE_ENGINE_BYTES
    each = "the worker" if settings.workers == 1 else f"each of {settings.workers} workers"
    needed = f"a fold and a report in {each} may use {size(need)} at once"
    if limit is None:
        return Finding("memory", "unknown", f"{needed}; the available memory is unknown")
    if need > limit:
        return Finding(
            "memory",
            "warning",
            f"{needed}, {size(limit)} available: the kernel may kill a process",
            "lower FOLDLOG_FOLD_MEMORY, FOLDLOG_REPORT_MEMORY or FOLDLOG_WORKERS, or add memory",
        )
    return Finding("memory", "ok", f"{needed}, {size(limit)} available")


def cores(count: int, settings: Settings) -> Finding:
    """Whether there is a core for each worker."""
    found = f"{counted(settings.workers, 'worker')}, {counted(count, 'core')}"
    if settings.workers > count:
        do = f"set FOLDLOG_WORKERS={count}"
        return Finding("cores", "warning", f"{found}: more than one worker per core is not faster", do)
    return Finding("cores", "ok", found)


def space(free: int, total: int, settings: Settings, bytes_a_day: float | None) -> Finding:
    """Whether there is room, and for how many days. `bytes_a_day`: how fast the data
    grows; None when that is not known yet.
    """
    reserve = settings.disk_reserve
    found = f"{size(free)} of {size(total)} free, reserve {size(reserve)}"
    make_room = (
        "make room, or keep less: FOLDLOG_LOG_RETENTION_DAYS, FOLDLOG_LOG_MAX_BYTES, and the same of the archive"
    )
    if free < reserve:
        do = f"{make_room}, or FOLDLOG_DISK_RESERVE"
        return Finding("free space", "wrong", f"{found}: events are rejected with 507", do)
    if total < 2 * reserve:
        do = "set FOLDLOG_DISK_RESERVE to about a tenth of the disk"
        return Finding("free space", "warning", f"{found}: most of this disk can never be used", do)
    if not bytes_a_day or bytes_a_day < 1:
        return Finding("free space", "ok", found)
    days = (free - reserve) / bytes_a_day
    lasts = f"{days:,.0f} days" if days < 3650 else "more than ten years"
    found = f"{found}; at {size(int(bytes_a_day))} a day it lasts {lasts}"
    if days < DAYS_MIN:
        return Finding("free space", "warning", found, make_room)
    return Finding("free space", "ok", found)


def pace(free: int, settings: Settings, bytes_a_day: float) -> Finding:
    """Whether the log, at the pace of the last hour, leaves room for another day."""
    name, left = "log pace", free - settings.disk_reserve
    found = f"{size(int(bytes_a_day))} a day, as in the last hour"
    if bytes_a_day and left < bytes_a_day:
        hours = max(0.0, left / bytes_a_day * 24)
        do = "docs/runbook.md, A flood of bots, says who sends so much; FOLDLOG_RATE_LIMIT_BYTES bounds one address"
        return Finding(name, "warning", f"{found}: in {hours:.1f} hours the disk is full", do)
    return Finding(name, "ok", found)


def synchronised(state: bool | None) -> Finding:
    """Whether a service keeps the clock synchronised. None: the kernel does not report
    it, as in some containers.
    """
    name = "clock sync"
    if state is None:
        return Finding(name, "unknown", "the kernel does not report it here; check on the host: timedatectl")
    if not state:
        do = "`timedatectl set-ntp true`, or `apt-get install chrony`; `timedatectl` shows when it is synchronised"
        return Finding(name, "warning", "according to the kernel, nothing synchronises the clock", do)
    return Finding(name, "ok", "synchronised")


def clock(now_s: float, newest_s: float | None, newest: str, suspect_since: str | None) -> Finding:
    """Whether the clock is behind the newest file, which is `newest`, written at
    `newest_s`.
    """
    if newest_s is not None and newest_s - now_s > CLOCK_BEHIND_WARN_S:
        return Finding(
            "clock",
            "wrong",
            f"{span(newest_s - now_s)} behind {newest}: the clock is wrong now, or was wrong then",
            "check it with `timedatectl`; if it is right, wait: retention resumes 48 hours after it has passed that "
            "time",
        )
    if suspect_since:
        return Finding(
            "clock",
            "warning",
            f"it jumped; retention has been waiting since {suspect_since} to see whether it stays steady",
            "nothing, if it is right now: retention resumes by itself after 48 hours",
        )
    found = "not behind the newest file" if newest_s is not None else "there is no file yet to compare it with"
    return Finding("clock", "ok", found)
