"""Asking another process to act: a request is a published file, and its modification
time is the message.

Writers watch `seal.request`, the compactor watches `fold.request`. No pid is involved,
so it works the same for `serve`, for separately supervised processes and for the
command line, and a request made while nobody runs does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.generations.load import load_snapshot
from shared.segments.sealed import active_segments, sealed_segments
from shared.timestamps import now_ms, rfc3339

POLL_S = 0.1
NOT_SEALED = "no writer sealed its segment"
NOT_FOLDED = "no compactor published a snapshot"


class RequestTimedOut(TemporaryFailure, TimeoutError):
    """A request was made and nothing happened in time: the process that should act is
    not running, or is stuck.
    """


class Watch:
    """Sees whether a request file was published since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def requested(self) -> bool:
        """True once for each request, however many were made since the last look. False
        while the file cannot be looked at.
        """
        try:
            seen, self._seen = self._seen, self._stamp()
        except OSError:
            return False  # nobody who has work to do ends because of it: the next look sees what this one could not
        return self._seen is not None and self._seen != seen


def touch(path: Path) -> None:
    """Publish a request anew."""
    publish(path, f"{rfc3339(now_ms())}\n".encode("ascii"))


def seal_and_wait(data: DataDirectory, timeout_s: float) -> None:
    """Ask all writers to seal, and wait until every line that was in an active segment
    is in a sealed one.

    Raises RequestTimedOut when a writer did not seal in time.
    """
    _wait(request_seal(data), timeout_s, NOT_SEALED)


def request_seal(data: DataDirectory) -> Callable[[], bool]:
    """Ask all writers to seal. Returns what says whether every line that was in an
    active segment is in a sealed one.
    """
    open_now = {path: _inode(path) for path in active_segments(data).values() if _has_lines(path)}
    if open_now:
        touch(data.seal_request)
    return lambda: not any(inode is not None and _inode(path) == inode for path, inode in open_now.items())


def request_fold(data: DataDirectory) -> Callable[[], bool]:
    """Ask the compactor to fold. Returns what says whether a snapshot holds every
    segment that was sealed.
    """
    before = load_snapshot(data).generation
    sealed = [segment.name for segment in sealed_segments(data)]

    def folded() -> bool:
        snapshot = load_snapshot(data)
        return snapshot.generation > before and all(snapshot.has_folded(name) for name in sealed)

    touch(data.fold_request)
    return folded


def _has_lines(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _wait(done: Callable[[], bool], timeout_s: float, complaint: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise timed_out(complaint, timeout_s)
        time.sleep(POLL_S)


def timed_out(complaint: str, timeout_s: float) -> RequestTimedOut:
    """What to raise once it has taken too long."""
    return RequestTimedOut(f"{complaint} within {timeout_s:g} s; is `foldlog serve` running?")
