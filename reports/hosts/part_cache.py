"""Parts of other hosts that were fetched, for the next question: files named by their
sha256 in `hosts/`, shared by all reader processes of this directory without a lock.

A question works on names of its own, in a directory of its process: a part that it has
stays, whichever reader evicts it meanwhile, and a part comes into `hosts/` whole. The
next question finds these names, unless the part was evicted since: then it is gone.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from shared.disk.durable import PRIVATE_DIRECTORY_MODE
from shared.disk.layout import DataDirectory, host_part_name, parse_host_part
from shared.exit_codes import TemporaryFailure
from shared.generations.checked_parts import TRUSTED_S
from shared.generations.snapshot import Part

# Another reader may work on a newer ledger, whose parts this one does not know.
UNREFERENCED_S = 300
_TOUCH_S = 60


class NoRoomForParts(TemporaryFailure):
    """The parts that a question needs would take the reserve of the disk."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(needed_bytes)
        self.needed_bytes = needed_bytes

    def __str__(self) -> str:
        return f"the parts of other hosts need {self.needed_bytes} bytes more than the disk has free; ask for less"


class _Cached(NamedTuple):
    path: Path
    used: float
    size: int


class PartCache:
    """`own`: an empty directory for the names of this process, on the disk of the data.
    `max_bytes` of parts are kept, and less where the disk has not so much beyond its
    reserve; what running questions use comes on top.
    """

    def __init__(self, data: DataDirectory, own: Path, max_bytes: int, disk_reserve: int) -> None:
        self._shared = data.hosts
        self._own = own
        self._max_bytes = max_bytes
        self._reserve = disk_reserve
        self._held: dict[str, float] = {}  # until when a name here is taken without looking at it

    @property
    def own(self) -> Path:
        """The directory that is emptied after each question."""
        return self._own

    def get(self, part: Part) -> Path | None:
        """The path of a part whose bytes were verified within a day; None if it must be
        fetched.
        """
        path, cached = self._own_path(part), self._shared / host_part_name(part.sha256)
        if self._held.get(path.name, 0.0) > time.monotonic():
            return path
        try:
            if not path.exists():
                os.link(cached, path)
        except OSError:  # it is not there, or this process may not
            return None
        if not _is_intact(path, part):
            path.unlink()
            cached.unlink(missing_ok=True)
            return None
        self._held[path.name] = time.monotonic() + _TOUCH_S
        return path

    def require_room(self, size: int) -> None:
        """Raises NoRoomForParts."""
        if (lacking := size - self._free_bytes()) > 0:
            raise NoRoomForParts(lacking)

    def has_room(self, size: int) -> bool:
        """Whether the disk has these bytes beyond its reserve."""
        return size <= self._free_bytes()

    def put(self, part: Part, content: bytes) -> Path:
        """Keep a part whose bytes were verified. Returns its path."""
        path = self._own_path(part)
        path.write_bytes(content)
        with suppress(OSError):  # another reader has put it there, or the data may only be read
            self._shared.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
            os.link(path, self._shared / path.name)
        self._held[path.name] = time.monotonic() + _TOUCH_S
        return path

    def release(self) -> None:
        """The question has its answer: what `hosts/` has no longer goes here, too."""
        with os.scandir(self._own) as entries:
            for entry in entries:
                if entry.is_file() and entry.stat().st_nlink == 1:
                    self._held.pop(entry.name, None)
                    Path(entry.path).unlink()

    def evict(self, referenced: Collection[str]) -> None:
        """Delete what no host references any more, then what was used least recently
        until the rest is within its bytes.
        """
        now = time.time()
        kept = []
        for each in sorted(self._cached(), key=lambda cached: cached.used):
            if each.path.stem not in referenced and now - each.used > UNREFERENCED_S:
                each.path.unlink(missing_ok=True)
            else:
                kept.append(each)
        size = sum(each.size for each in kept)
        allowed = min(self._max_bytes, size + self._free_bytes())
        for each in kept:
            if size <= allowed:
                break
            each.path.unlink(missing_ok=True)
            size -= each.size

    def _own_path(self, part: Part) -> Path:
        return self._own / host_part_name(part.sha256)

    def _cached(self) -> Iterator[_Cached]:
        with suppress(FileNotFoundError), os.scandir(self._shared) as entries:
            for entry in entries:
                if parse_host_part(entry.name):
                    with suppress(FileNotFoundError):
                        found = entry.stat()
                        yield _Cached(Path(entry.path), found.st_atime, found.st_size)

    def _free_bytes(self) -> int:
        """Negative where the reserve is taken already."""
        found = os.statvfs(self._own)
        return found.f_bavail * found.f_frsize - self._reserve


def _is_intact(path: Path, part: Part) -> bool:
    """Whether a cached file is the part. Its mtime says when its bytes were verified
    last, its atime when it was used.
    """
    found, now = path.stat(), time.time()
    if found.st_size != part.bytes:
        return False
    checked = found.st_mtime
    if not max(_booted_at(now), now - TRUSTED_S) < checked <= now:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                return False
        checked = now
    if checked != found.st_mtime or now - found.st_atime > _TOUCH_S:
        os.utime(path, (now, checked))
    return True


def _booted_at(now: float) -> float:
    """A cached part is not synced: after a power cut it is read again."""
    return now - time.clock_gettime(time.CLOCK_BOOTTIME)
