"""One file of a spool: events of at most one batch, an event a line.

Its holder has it locked (flock), be it the process that appends to it or the one that
sends it. So a free file has no living holder, and the next process takes it. The lock
goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

BATCH_EVENTS = 500
BATCH_BYTES = 256 * 1024
SUFFIX = ".ndjson"
REFUSED = ".refused"


class BatchFile:
    """A file that this process has open and locked."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.is_torn = False
        self._count = 0
        self._since = time.monotonic()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._since

    def fits(self, line: bytes) -> bool:
        return not self.is_torn and self._count < BATCH_EVENTS and self.size + len(line) < BATCH_BYTES

    def append(self, line: bytes, *, fsync: bool) -> None:
        """All of a line or nothing. After an error that left a part of it, nothing may
        follow: `is_torn`.
        """
        content = line + b"\n"
        try:
            self._write(content)
            if fsync:
                os.fdatasync(self.descriptor)
        except OSError:
            self.is_torn = True
            os.ftruncate(self.descriptor, self.size)
            self.is_torn = False
            raise
        self.size += len(content)
        self._count += 1

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def lines(self) -> list[bytes]:
        """What follows the last newline was never acknowledged to its sender."""
        with open(self.descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return [line for line in file.read().split(b"\n")[:-1] if line]

    def remove(self) -> None:
        """Before it is closed, so that no other process finds it free."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def set_aside(self) -> None:
        """Keep it, and never send it."""
        with suppress(FileNotFoundError):
            self.path.rename(self.path.with_suffix(REFUSED))

    def close(self) -> None:
        os.close(self.descriptor)


def create(path: Path) -> BatchFile | None:
    """None if another process looked at it before it was locked."""
    return _locked(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND)


def take(path: Path) -> BatchFile | None:
    """None if another process holds it, or has just sent it, or if it cannot be opened:
    it must not hold up the others.
    """
    try:
        return _locked(path, os.O_RDWR)
    except OSError:
        return None


def _locked(path: Path, flags: int) -> BatchFile | None:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return BatchFile(path, descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
