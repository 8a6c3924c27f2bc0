"""What a program copies of a data directory in which passes are running, and what is
done with the copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compactor.lock import compactor_lock
from compactor.repair.directory_check import check_directory
from compactor.repair.rebuild import rebuild
from compactor.repair.rebuild_days import DayChange
from compactor.repair.verify import verify
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from tests.builders.archive import archived
from tests.builders.logs import NOON
from tests.builders.silent_log import SilentLog


def findings(data: DataDirectory) -> list[Any]:
    return verify(data, Settings(data_dir=data.root), lambda _step: None).findings


def rebuilt(data: DataDirectory, log: SilentLog | None = None) -> list[DayChange]:
    return rebuild(data, Settings(data_dir=data.root), log or SilentLog(), NOON + 1000, dry_run=False)


def started(data: DataDirectory, log: SilentLog | None = None) -> None:
    with compactor_lock(data) as lock:
        check_directory(data, log or SilentLog(), lock)


def ids_of(data: DataDirectory) -> list[str]:
    return [row[0] for row in archived(data)]


def tree(data: DataDirectory) -> dict[Path, bytes]:
    """The content of each file, without the lock and what is in run/."""
    kept = (path for path in data.root.rglob("*") if path.is_file() and path != data.compact_lock)
    return {path: path.read_bytes() for path in kept if path.parent.name != "run"}
