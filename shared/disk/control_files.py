"""Asking another process to act: publishing a control file again is the message, and
its modification time tells requests apart.

Writers watch `seal.request`, the compactor watches `fold.request`. No pid is involved,
so it works for `serve`, for separately supervised processes and for the command line. A
request that no process watches has no effect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from shared.disk.marks import answered_fold_request, fold_request_stamp
from shared.exit_codes import TemporaryFailure
from shared.segments.sealed import active_segments
from shared.timestamps import now_ms, rfc3339

POLL_S = 0.1
# How long a writer may take to seal: where an operator or a client waits for it, and
# before a scheduled pass, which comes again a minute later.
SEAL_TIMEOUT_S = 10.0
SEAL_BEFORE_PASS_TIMEOUT_S = 3.0
Action = Literal["seal", "fold"]
_FAILURES: dict[Action, str] = {
    "seal": "not every writer sealed its segment",
    "fold": "no compactor ended a pass",
}


class RequestTimedOut(TemporaryFailure, TimeoutError):
    """The process that should act did not within `timeout_s`: it is not running, or is
    stuck.
    """

    def __init__(self, action: Action, timeout_s: float) -> None:
        super().__init__(action)
        self.action, self.timeout_s = action, timeout_s

    def __str__(self) -> str:
        return f"{_FAILURES[self.action]} within {self.timeout_s:g} s; is `foldlog serve` running?"


class Watch:
    """Notices that a control file was published again since the last poll."""

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
        """True if there was a request since the last poll. A transient stat error is
        False: the next poll retries, and the caller goes on with its work.
        """
        try:
            seen, self._seen = self._seen, self._stamp()
        except OSError:
            return False
        return self._seen is not None and self._seen != seen


def touch(path: Path) -> None:
    """Publish a control file again."""
    publish(path, f"{rfc3339(now_ms())}\n".encode("ascii"))


def seal_and_wait(data: DataDirectory, timeout_s: float) -> None:
    """Have all writers seal, and wait until every line of the active segments is in a
    sealed one. Raises RequestTimedOut.
    """
    is_done = request_seal(data)
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > deadline:
            raise RequestTimedOut("seal", timeout_s)
        time.sleep(POLL_S)


def request_seal(data: DataDirectory) -> Callable[[], bool]:
    """Ask all writers to seal. The function returned is True once every line of the
    active segments is in a sealed one.
    """
    open_now = {path: _inode(path) for path in active_segments(data).values() if _has_lines(path)}
    if open_now:
        touch(data.seal_request)
    return lambda: not any(inode is not None and _inode(path) == inode for path, inode in open_now.items())


def request_fold(data: DataDirectory) -> Callable[[], bool]:
    """Ask the compactor to fold. The function returned is True once passes that began
    after this have ended, whether they found something or not.
    """
    touch(data.fold_request)
    asked = fold_request_stamp(data)

    def is_answered() -> bool:
        answered = answered_fold_request(data)
        return bool(answered) and (answered == fold_request_stamp(data) or _is_from(answered, asked))

    return is_answered


def _is_from(answered: str | None, asked: str) -> bool:
    """Whether one stamp is that of another request, or of a later one."""
    return answered == asked or int((answered or "0 0").split()[1]) > int(asked.split()[1])


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
