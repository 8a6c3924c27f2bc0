"""Which processes of Foldlog run on a data directory, seen from outside and without
taking a lock.
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
    """`serve`: the pid that holds serve.lock. `workers`: for each that left a socket,
    whether it responds; None where this user cannot query them.
    """

    serve: int | None
    workers: dict[str, bool] | None

    @property
    def unresponsive(self) -> list[str]:
        return sorted(name for name, responds in (self.workers or {}).items() if not responds)

    @property
    def responsive(self) -> list[str]:
        return sorted(name for name, responds in (self.workers or {}).items() if responds)

    @property
    def is_nothing(self) -> bool:
        """Whether neither a supervisor nor a worker runs."""
        return self.serve is None and self.workers is not None and not self.responsive


def find_running(data: DataDirectory) -> Running:
    """Query every worker. Takes little more than a second if one hangs."""
    workers = {name: stats is not None for name, stats in query_workers(data).items()} if _may_query(data) else None
    return Running(lock_holder(data.serve_lock), workers)


def _may_query(data: DataDirectory) -> bool:
    try:
        data.run.stat()
    except FileNotFoundError:
        return True  # no process has run here yet
    except PermissionError:
        return False
    return os.access(data.run, os.R_OK | os.X_OK)


def lock_holder(lock: Path) -> int | None:
    """The process that has locked a file, as far as /proc shows it.

    Trying the lock would be more certain, but a process that starts at that moment
    would find it taken.
    """
    try:
        inode, locks = lock.stat().st_ino, LOCKS.read_text("ascii")
    except OSError:
        return None
    return next((pid for pid, locked in flocks(locks) if locked == inode), None)


def flocks(text: str) -> list[tuple[int, int]]:
    """Process and inode of each flock in a text like /proc/locks."""
    return [(int(match[1]), int(match[2])) for match in _FLOCK.finditer(text)]
