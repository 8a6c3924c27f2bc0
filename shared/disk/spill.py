"""Where a report puts what exceeds its memory: a directory of its own beside the data,
where the disk is, and not in TMPDIR, which may be memory.

It holds events, so it must not outlive its report. Who uses a directory holds a lock on
it; a free lock is the sign that its process is dead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.disk.durable import PRIVATE_DIRECTORY_MODE
from shared.disk.layout import DataDirectory


class NoScratch(OSError):
    """There is no directory for temporary files."""


@contextmanager
def own_spill(data: DataDirectory) -> Iterator[Path]:
    """An empty directory that is deleted afterwards. Where the data may only be read it
    is one in TMPDIR. Raises NoScratch where there is none either.
    """
    try:
        path, descriptor = _make(data)
    except OSError as error:
        with _temporary(error) as directory:
            yield Path(directory)
        return
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _temporary(refused: OSError) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="foldlog-report-")
    except OSError as error:
        reason = refused.strerror or type(refused).__name__
        raise NoScratch(
            f"there is no directory for temporary files: not in FOLDLOG_DATA_DIR ({reason}), nor in TMPDIR"
        ) from error


def sweep_spill(data: DataDirectory) -> None:
    """Delete the directories of processes that are dead."""
    try:
        found = list(data.report_spill.iterdir())
    except FileNotFoundError:
        return
    for path in found:
        descriptor = _lock(path)
        if descriptor is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


def spill_max_bytes(data: DataDirectory, disk_reserve: int) -> int:
    """What one report may spill: half of what is free beyond the reserve, so that a
    report does not keep events from being taken (P10).
    """
    found = os.statvfs(data.root)
    return max(0, found.f_bavail * found.f_frsize - disk_reserve) // 2


def _make(data: DataDirectory) -> tuple[Path, int]:
    if data.root.stat().st_uid != os.geteuid() != data.log.stat().st_uid:
        raise PermissionError(f"{data.root} belongs to another user")  # root's folder would be in its way
    data.report_spill.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
    sweep_spill(data)
    while True:
        path = Path(tempfile.mkdtemp(dir=data.report_spill))
        descriptor = _lock(path)
        if descriptor is None:
            continue  # another process sweeps it, before it had its lock
        if path.exists():
            return path, descriptor
        os.close(descriptor)


def _lock(path: Path) -> int | None:
    """The descriptor of a directory that was not locked; None where it is, or is
    gone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
