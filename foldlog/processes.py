"""Which processes of Foldlog run on a data directory, seen from outside and without a
lock of its own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from shared.disk.layout import DataDirectory
from shared.peers import query_workers

LOCKS = Path("/proc/locks")

_FLOCK = re.compile(r"^\d+: FLOCK +\w+ +\w+ +(-?\d+) +[0-9a-f]+:[0-9a-f]+:(\d+) ", re.MULTILINE)


class Running(NamedTuple):
    """`serve` is the process that holds serve.lock. `workers`: whether each answers;
    None where that cannot be asked.
    """

    serve: int | None
    workers: dict[str, bool] | None

    @property
    def silent(self) -> list[str]:
        """Workers that left a socket and do not answer on it."""
        return sorted(name for name, answers in (self.workers or {}).items() if not answers)

    @property
    def answering(self) -> list[str]:
        return sorted(name for name, answers in (self.workers or {}).items() if answers)

    @property
    def is_nothing(self) -> bool:
        """Whether neither a supervisor nor a worker is there."""
        return self.serve is None and self.workers is not None and not self.answering


def find_running(data: DataDirectory) -> Running:
    """Ask every worker on its socket. Takes at most little more than a second, when one
    is stuck.
    """
    workers = {name: stats is not None for name, stats in query_workers(data).items()} if _may_ask(data) else None
    return Running(holder(data.serve_lock), workers)


def _may_ask(data: DataDirectory) -> bool:
    try:
        data.run.stat()
    except FileNotFoundError:
        return True  # nothing has run yet
    except PermissionError:
        return False
    return os.access(data.run, os.R_OK | os.X_OK)


def holder(lock: Path) -> int | None:
    """The process that has a lock file locked, as far as that can be seen from here.

    To try the lock would be surer, but whoever starts in that moment would be told that
    another one runs.
    """
    try:
        inode, locks = lock.stat().st_ino, LOCKS.read_text("ascii")
    except OSError:
        return None
    return next((int(pid) for pid, locked in flocks(locks) if locked == inode), None)


def flocks(text: str) -> list[tuple[int, int]]:
    """Process and inode of each lock in a text like that of /proc/locks which flock
    made.
    """
    return [(int(match[1]), int(match[2])) for match in _FLOCK.finditer(text)]
