"""The compactor's lock: one process at a time changes the snapshot and the parts (P5).

A lock file alone is not enough: once it is deleted, a second process can lock a new
one. So the directory `private/`, which only its owner may open, is locked as well, and
the lock file is checked again before each commit (generations/commit.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import Timeout

from shared.disk.layout import DataDirectory
from shared.disk.locks import locked_private_directory, owner_lock
from shared.exit_codes import TemporaryFailure

# How long a command waits for a running pass to end.
LOCK_TIMEOUT_S = 60.0


class CompactorBusy(TemporaryFailure):
    """Another process is compacting this data directory."""


class CompactorLock:
    """The right to commit. Made by `compactor_lock`."""

    def __init__(self, data: DataDirectory, inode: int) -> None:
        self.path = data.compact_lock
        self._inode = inode

    def is_valid(self) -> bool:
        """Whether the lock file is still the one that this process locked."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False


@contextmanager
def compactor_lock(data: DataDirectory, timeout_s: float = 0) -> Iterator[CompactorLock]:
    """Hold the compactor's lock. Raises CompactorBusy when another process holds it for
    longer than `timeout_s`.
    """
    lock = owner_lock(data.compact_lock, timeout_s)
    try:
        lock.acquire()
    except Timeout:
        raise CompactorBusy(f"another process is compacting {data.root}") from None
    try:
        with _locked_directory(data):
            yield CompactorLock(data, data.compact_lock.stat().st_ino)
    finally:
        lock.release()


@contextmanager
def _locked_directory(data: DataDirectory) -> Iterator[None]:
    """Lock a directory besides, which is not deleted as easily as compact.lock.

    A check before the commit would come too late: parts are named by their generation,
    so a second process would overwrite parts that the first has committed or is about
    to commit.
    """
    with locked_private_directory(data.private) as is_locked:
        if not is_locked:
            raise CompactorBusy(f"another process is compacting {data.root}; its {data.compact_lock.name} was deleted")
        yield
