"""Locks that only the owner of a data directory can take (P3).

`flock` asks for an open descriptor and no more: a lock on a file that a group may read
is one that a member of it may keep for ever. So lock files have mode 0600 whatever the
umask, and one of an earlier release gets it before it is locked. A directory is locked
only if its owner alone may open it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout, UnixFileLock, lock_descriptor

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory


def owner_lock(path: Path, timeout_s: float = -1, on_acquired: Callable[[int], None] | None = None) -> UnixFileLock:
    """A lock on a file of its own, not taken yet; with less than 0 s it waits for ever.
    `on_acquired` gets its descriptor. Taking it raises filelock's Timeout, and OSError
    where the file cannot be opened.
    """
    make_private(path, PRIVATE_MODE)
    return UnixFileLock(path, timeout_s, PRIVATE_MODE, fallback_to_soft=False, on_acquired=on_acquired)


@contextmanager
def held(path: Path, timeout_s: float, busy: Callable[[], Exception]) -> Iterator[None]:
    """Hold such a lock. Raises what `busy` makes if another process has it for
    `timeout_s`.
    """
    lock = owner_lock(path, timeout_s)
    try:
        lock.acquire()
    except Timeout:
        raise busy() from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_private_directory(path: Path) -> Iterator[bool]:
    """Lock a directory of mode 0700, which is deleted less easily than a lock file.
    Yields False if another process has locked it.
    """
    make_directory(path, PRIVATE_DIRECTORY_MODE)
    make_private(path, PRIVATE_DIRECTORY_MODE)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield lock_descriptor(descriptor, blocking=False)
    finally:
        os.close(descriptor)


def make_private(path: Path, mode: int) -> None:
    """Give a file or directory this mode, if it exists and this user may do so. The
    next call that opens it reports everything else.

    Never through a link, which would lead a command of root elsewhere.
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            is_one = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
            if is_one and stat.S_IMODE(found.st_mode) != mode:
                Path(f"/proc/self/fd/{descriptor}").chmod(mode)
        finally:
            os.close(descriptor)
