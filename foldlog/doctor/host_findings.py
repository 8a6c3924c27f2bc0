"""What `foldlog doctor` says of a host, as pure functions: from what was found to a
finding with what to type.

What it says of a data directory and of the settings is in diagnosis_data.py; what there
is, is found in doctor.py and host.py.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, NamedTuple

from foldlog.doctor.file_systems import LYING_OPTIONS, Mount, refusal
from foldlog.quantities import size, span
from shared.settings import OTHER_DESCRIPTORS, Settings

Level = Literal["ok", "warning", "wrong", "unknown"]

FEW_INODES = 10_000
ENOUGH_DAYS = 14
# How far the clock may be behind the newest file without a warning: a warning costs
# nothing, so it comes long before retention stops deleting.
CLOCK_BEHIND_WARN_S = 60
# What the fold's process and a reader take beside the memory of their engine
# (docs/settings.md).
BESIDE_ENGINE = 150 << 20


class Finding(NamedTuple):
    """One line of the doctor: what was looked at, how it is, what was found, and what
    to do if it is not well.
    """

    check: str
    level: Level
    found: str
    do: str = ""


def file_system(directory: Path, mount: Mount | None) -> Finding:
    """Whether locks, renames and fsync hold where the data is."""
    name = "file system"
    if mount is None:
        return Finding(name, "unknown", "it cannot be told which one holds the data: /proc is not there")
    here = f"{mount.type}, mounted at {mount.point}"
    elsewhere = "set FOLDLOG_DATA_DIR to a directory on a disk of this host (ext4, XFS, btrfs, ZFS)"
    if why := refusal(directory, mount):
        return Finding(
            name, "wrong", why.removesuffix(" Set FOLDLOG_DATA_DIR to a directory on a disk of this host."), elsewhere
        )
    if mount.kind == "fuse":
        return Finding(
            name, "wrong", f"{here}: nobody can say whether locks and fsync hold on this FUSE file system", elsewhere
        )
    if "ro" in mount.options:
        remount = f"mount -o remount,rw {mount.point} (and see in `dmesg` why, if nobody wanted it so)"
        return Finding(name, "wrong", f"{here}, read-only: nothing can be written", remount)
    if mount.kind == "layer":
        return Finding(
            name, "warning", f"{here}: a layer of this container, which goes with it", f"mount a volume at {directory}"
        )
    if mount.kind == "memory":
        return Finding(name, "warning", f"{here}: in memory, which the next restart of the host empties", elsewhere)
    if lying := sorted(mount.options & LYING_OPTIONS):
        without = "take it out of /etc/fstab and mount anew"
        return Finding(
            name, "warning", f"{here}, with {', '.join(lying)}: a power cut may take what was synced", without
        )
    return Finding(name, "ok", here)


def open_files(hard: float, whose: str, settings: Settings) -> Finding:
    """Whether a worker may have as many descriptors as FOLDLOG_MAX_CONNECTIONS wants.
    It raises its soft limit by itself.
    """
    wanted = settings.max_connections + OTHER_DESCRIPTORS
    if hard >= wanted:
        return Finding("open files", "ok", f"{_many(hard)} {whose}, {wanted:,} are enough")
    room = max(16, int(hard) - OTHER_DESCRIPTORS)
    return Finding(
        "open files",
        "warning",
        f"{_many(hard)} {whose}: a worker takes {room:,} connections, FOLDLOG_MAX_CONNECTIONS is {settings.max_connections:,}",
        f"set LimitNOFILE={wanted} in the unit (or `ulimit -Hn {wanted}`), or lower FOLDLOG_MAX_CONNECTIONS",
    )


def file_size(hard: float, whose: str, settings: Settings) -> Finding:
    """Whether files may become as large as they get."""
    if math.isinf(hard):
        return Finding("file size", "ok", f"no limit {whose}")
    return Finding(
        "file size",
        "wrong" if hard < settings.segment_max_bytes else "warning",
        f"a file may have {size(int(hard))} {whose}; a segment gets {size(settings.segment_max_bytes)}, a part may get more",
        "set LimitFSIZE=infinity in the unit (or `ulimit -f unlimited`)",
    )


def _many(limit: float) -> str:
    return "no limit" if math.isinf(limit) else f"{limit:,.0f}"


def inodes(free: int, total: int) -> Finding:
    """Whether files can be made: each minute makes a few. `total` is 0 where they are
    made as needed (btrfs).
    """
    if not total:
        return Finding("inodes", "ok", "made as needed")
    do = "see with `df -i` and `du --inodes` what takes them"
    if free < FEW_INODES:
        return Finding(
            "inodes", "wrong" if free < FEW_INODES // 10 else "warning", f"{free:,} of {total:,} are free", do
        )
    return Finding("inodes", "ok", f"{free:,} of {total:,} are free")


def memory(limit: int | None, settings: Settings) -> Finding:
    """Whether a fold and a report in each worker fit at once."""
    need = settings.fold_memory + settings.workers * settings.report_memory + (1 + settings.workers) * BESIDE_ENGINE
    each = "the worker" if settings.workers == 1 else f"each of {settings.workers} workers"
    wanted = f"a fold and a report in {each} may take {size(need)} at once"
    if limit is None:
        return Finding("memory", "unknown", f"{wanted}; how much there is cannot be told")
    if need > limit:
        return Finding(
            "memory",
            "warning",
            f"{wanted}, there is {size(limit)}: the kernel may kill one of them",
            "lower FOLDLOG_FOLD_MEMORY, FOLDLOG_REPORT_MEMORY or FOLDLOG_WORKERS, or give it more",
        )
    return Finding("memory", "ok", f"{wanted}, there is {size(limit)}")


def cores(count: int, settings: Settings) -> Finding:
    """Whether there is a core for each worker."""
    there = f"{settings.workers} {'worker' if settings.workers == 1 else 'workers'}, {count} {'core' if count == 1 else 'cores'}"
    if settings.workers > count:
        return Finding(
            "cores", "warning", f"{there}: more than one a core are no faster", f"set FOLDLOG_WORKERS={count}"
        )
    return Finding("cores", "ok", there)


def space(free: int, total: int, settings: Settings, a_day: float | None) -> Finding:
    """Whether there is room, and for how many days. `a_day` is by how many bytes the
    data grows; None: too little to tell.
    """
    reserve = settings.disk_reserve
    there = f"{size(free)} of {size(total)} are free, the reserve is {size(reserve)}"
    make_room = (
        "make room, or keep less: FOLDLOG_LOG_RETENTION_DAYS, FOLDLOG_LOG_MAX_BYTES, and the same of the archive"
    )
    if free < reserve:
        return Finding(
            "free space", "wrong", f"{there}: events are refused with 507", f"{make_room}, or FOLDLOG_DISK_RESERVE"
        )
    if total < 2 * reserve:
        do = "set FOLDLOG_DISK_RESERVE to a tenth of the disk, say"
        return Finding("free space", "warning", f"{there}: most of this disk can never be used", do)
    if not a_day or a_day < 1:
        return Finding("free space", "ok", there)
    days = (free - reserve) / a_day
    lasts = (
        f"{there}; at {size(int(a_day))} a day it lasts {f'{days:,.0f} days' if days < 3650 else 'more than ten years'}"
    )
    if days < ENOUGH_DAYS:
        return Finding("free space", "warning", lasts, make_room)
    return Finding("free space", "ok", lasts)


def synchronised(state: bool | None) -> Finding:
    """Whether something keeps the clock right. None: the kernel does not say, as in
    some containers.
    """
    if state is None:
        return Finding("clock sync", "unknown", "the kernel does not say here; look on the host: timedatectl")
    if not state:
        do = "`timedatectl set-ntp true`, or `apt-get install chrony`; `timedatectl` says when it is synchronised"
        return Finding("clock sync", "warning", "the kernel says that nothing synchronises the clock", do)
    return Finding("clock sync", "ok", "synchronised")


def clock(now_s: float, newest_s: float | None, newest: str, doubted_since: str | None) -> Finding:
    """Whether the clock is behind what was written with it. `newest` says what was
    written last, at `newest_s`.
    """
    if newest_s is not None and newest_s - now_s > CLOCK_BEHIND_WARN_S:
        return Finding(
            "clock",
            "wrong",
            f"{span(newest_s - now_s)} behind {newest}: one of the two was made with a wrong clock",
            "`timedatectl` shows the clock; if it is right, wait: retention goes on 48 hours after it has passed that time",
        )
    if doubted_since:
        return Finding(
            "clock",
            "warning",
            f"it jumped; retention has been waiting since {doubted_since} to see whether it stays steady",
            "nothing, if it is right now: retention goes on by itself after 48 hours",
        )
    return Finding(
        "clock", "ok", "not behind what was written last" if newest_s is not None else "nothing to compare it with yet"
    )
