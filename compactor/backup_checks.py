"""Whether a backup can be made: checks of the destination and of the data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from compactor.generations.kept import kept_snapshots
from compactor.repair.directory_check import parts_beyond_next
from shared.disk.layout import DataDirectory
from shared.erasures import pending_requests, progress_of
from shared.exit_codes import UsageError
from shared.generations.load import find_snapshot
from shared.generations.part_presence import missing_parts
from shared.generations.snapshot import Snapshot

Refusal = Literal[
    "no_parent",
    "exists",
    "inside_data",
    "other_file_system",
    "leftover_in_the_way",
    "erasing",
    "snapshot_damaged",
    "part_missing",
    "later_part",
    "log_changing",
]


class BackupRefused(UsageError):
    """No backup was made. `code` is the reason, `path` the file or directory that
    caused it; the message adds what to do.
    """

    def __init__(self, code: Refusal, path: Path, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.path = path


def check_destination(data: DataDirectory, destination: Path) -> None:
    """Raises BackupRefused if no backup can be made there."""
    parent, root = destination.absolute().parent, data.root.resolve()
    if not parent.is_dir():
        raise BackupRefused("no_parent", parent, f"there is no directory {parent}; create it: mkdir -p {parent}")
    if os.path.lexists(destination):
        message = f"{destination} exists already, and a backup replaces nothing; choose another name"
        raise BackupRefused("exists", destination, message)
    if parent.resolve().is_relative_to(root):
        message = f"{destination} is inside the data directory; choose a name beside it, as {root.parent / 'backup'}"
        raise BackupRefused("inside_data", destination, message)
    if parent.stat().st_dev != root.stat().st_dev:
        raise other_file_system(data, destination)


def other_file_system(data: DataDirectory, destination: Path) -> BackupRefused:
    beside = data.root.resolve().with_name(destination.name)
    if beside.exists():
        beside = beside.with_name(f"backup-{beside.name}")
    message = (
        f"{destination} is on another file system than {data.root}, and hard links cannot cross. Make the backup "
        f"beside "
        f"the data directory, then copy that: foldlog backup {beside} && rsync -a {beside}/ {destination}/"
    )
    return BackupRefused("other_file_system", destination, message)


def check_erasures(data: DataDirectory) -> None:
    """Raises BackupRefused during an erasure: the log may still contain a visitor whom
    the snapshot does not count any more.
    """
    if any(progress_of(data, request.request)[0] for request in pending_requests(data)):
        message = (
            "a visitor is being erased, and the backup might still contain some of their events; wait until "
            "`foldlog status` "
            "shows no erasure as pending (`erasures_pending` is 0 in its JSON), then run this again"
        )
        raise BackupRefused("erasing", data.private, message)


def check_snapshots(data: DataDirectory) -> list[Snapshot]:
    """The snapshot, then the kept ones whose parts are all present.

    Raises BackupRefused if the snapshot is damaged or does not match the parts, and
    SnapshotLost.
    """
    found = find_snapshot(data)
    if found.damage:
        message = f"{found.damage}; run `foldlog compact --once`, if no compactor is running, then this again"
        raise BackupRefused("snapshot_damaged", data.snapshot, message)
    if missing := next(missing_parts(data, found.snapshot), None):
        message = f"{missing} is not the part that {data.snapshot} references; run `foldlog rebuild`, then this again"
        raise BackupRefused("part_missing", missing, message)
    if later := next(parts_beyond_next(data, found.snapshot), None):
        problem = f"{later} is of a later generation than {data.snapshot}, and may be the only copy of some events"
        raise BackupRefused("later_part", later, f"{problem}; run `foldlog rebuild`, then this again")
    return [found.snapshot, *(kept for kept in kept_snapshots(data) if not any(missing_parts(data, kept)))]
