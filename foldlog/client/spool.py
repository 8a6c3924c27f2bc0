"""The spool: a directory that keeps events until the server has answered for them.

Any number of threads and processes may share one. Each appends to a file of its own
(batch_file.py), and any of them sends what is free. A killed process loses no event for
which `append` returned; with `fsync`, neither does a machine without power.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

from foldlog.client import batch_file
from foldlog.client.batch_file import BATCH_BYTES, REFUSED, SUFFIX, BatchFile

# So many small files cost a disk at least, and so many bytes does each count.
_BLOCK = 4096
# A full spool is measured once in so long: each time costs a look at every file.
_LOOK_AGAIN_S = 1.0
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SpoolFull(Exception):
    """The event was not taken: the spool has as many bytes as it may have, or its disk
    is full. What is in the spool stays.
    """


class Spool:
    """`consent` is part of the name of each file: it was given for the events in it,
    whichever process sends them.
    """

    def __init__(self, directory: Path, *, consent: str | None, max_bytes: int, fsync: bool) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self._ending = f".{consent or 'implied'}{SUFFIX}"
        self._max_bytes = max_bytes
        self._fsync = fsync
        # Held at each fork, so that no descriptor is open that `_open` does not know.
        self.lock = threading.Lock()
        self._active: BatchFile | None = None
        self._open: set[BatchFile] = set()
        self._full_until = 0.0

    @property
    def age_s(self) -> float | None:
        """Since when events gather in the active file; None without one."""
        active = self._active
        return None if active is None else active.age_s

    def append(self, line: bytes) -> bool:
        """Keep an event. Returns whether a file began with it. Raises SpoolFull, or
        OSError for a disk that fails in another way.
        """
        with self.lock:
            is_new = self._active is None or not self._active.fits(line)
            try:
                active = self._begin() if is_new else self._active
                assert active is not None  # noqa: S101
                active.append(line, fsync=self._fsync)
            except OSError as error:
                self._seal_broken()
                if error.errno in _NO_ROOM:
                    raise SpoolFull(f"the disk of the spool is full: {error.strerror}") from error
                raise
            return is_new

    def _begin(self) -> BatchFile:
        self._seal()
        self._make_room()
        while True:
            path = self.directory / f"{time.time_ns():020d}-{secrets.token_hex(4)}{self._ending}"
            if created := batch_file.create(path):
                self._open.add(created)
                self._active = created
                if self._fsync:
                    _sync_directory(self.directory)
                return created

    def _seal_broken(self) -> None:
        """No empty file stays behind, and nothing follows a part of a line."""
        if self._active is not None and (self._active.is_torn or not self._active.size):
            self._seal()

    def seal(self) -> None:
        """Let the events that have gathered be sent."""
        with self.lock:
            self._seal()

    def _seal(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            self._let_go(active, remove=not active.size)

    def take(self, after: str) -> BatchFile | None:
        """The oldest free file after this name, or before it if there is none: one that
        fails holds no other up.
        """
        names = sorted(each.name for each in self.directory.iterdir() if each.suffix == SUFFIX)
        later = [name for name in names if name > after]
        for name in later + names[: len(names) - len(later)]:
            with self.lock:
                if taken := batch_file.take(self.directory / name):
                    self._open.add(taken)
                    return taken
        return None

    def let_go(self, taken: BatchFile, *, remove: bool = False) -> None:
        """Give a file back, or remove it."""
        with self.lock:
            self._let_go(taken, remove=remove)
            if remove:
                self._full_until = 0.0

    def set_aside(self, taken: BatchFile) -> None:
        with self.lock:
            try:
                taken.set_aside()
            finally:
                self._let_go(taken, remove=False)

    def _let_go(self, file: BatchFile, *, remove: bool) -> None:
        self._open.discard(file)
        try:
            if remove:
                file.remove()
        finally:
            file.close()

    def forget(self) -> None:
        """In the child of a fork: the files are the parent's. To close a copy of its
        descriptors leaves its locks alone, to keep one would outlive them.
        """
        for file in self._open:
            file.close()
        self._open.clear()
        self._active = None

    def _make_room(self) -> None:
        """For a whole batch. What was set aside goes first, the oldest of it."""
        if time.monotonic() < self._full_until:
            raise SpoolFull(self._said())
        sizes = self._sizes()
        excess = sum(sizes.values()) + BATCH_BYTES - self._max_bytes
        for path in sorted(each for each in sizes if each.suffix == REFUSED):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= sizes[path]
        if excess > 0:
            self._full_until = time.monotonic() + _LOOK_AGAIN_S
            raise SpoolFull(self._said())

    def _sizes(self) -> dict[Path, int]:
        found: dict[Path, int] = {}
        for path in self.directory.iterdir():
            if path.suffix in (SUFFIX, REFUSED):
                with suppress(FileNotFoundError):
                    found[path] = max(path.stat().st_size, _BLOCK)
        return found

    def _said(self) -> str:
        return f"the spool {self.directory} has its {self._max_bytes:,} bytes"


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
