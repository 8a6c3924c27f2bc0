"""The commit: one rename of snapshot.json (P5).

Only the holder of the compactor's lock commits. Before the rename it checks that the
generation on disk is still the one that it started from, and that the lock file is
still the one that it locked.
"""

from __future__ import annotations

from pathlib import Path

from compactor.lock import CompactorLock
from shared.disk.durable import hard_link, publishing, sync_directory
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.generations.load import SnapshotLost, find_snapshot, kept_generations, load_snapshot, newest_part_generation
from shared.generations.snapshot import Snapshot, encode_snapshot


class CommitLost(TemporaryFailure):
    """Another process committed, or took the lock, during the pass. Nothing was
    published; the next pass starts over.
    """


def commit(data: DataDirectory, before: Snapshot, after: Snapshot, lock: CompactorLock) -> None:
    """Publish `after`, whose parts are all published, and keep `before`. Raises
    CommitLost.
    """
    with publishing(data.snapshot) as beside:
        beside.write_bytes(encode_snapshot(after))
        if load_snapshot(data).generation != before.generation:
            raise CommitLost(f"generation {before.generation} was replaced by another process")
        assert_lock_held(lock)
        if before.generation:
            hard_link(data.snapshot, data.kept_snapshot(before.generation))


def replace_damaged(data: DataDirectory, after: Snapshot, lock: CompactorLock) -> None:
    """Publish `after` in place of a snapshot that is damaged or lost. Raises CommitLost
    when it is neither any more.
    """
    with publishing(data.snapshot) as beside:
        beside.write_bytes(encode_snapshot(after))
        if not has_no_valid_snapshot(data) and find_snapshot(data).damage is None:
            raise CommitLost("another process replaced the damaged snapshot")
        assert_lock_held(lock)
        quarantine_file(data, data.snapshot, f"snapshot.{after.generation - 1}.json")


def assert_lock_held(lock: CompactorLock) -> None:
    if not lock.is_valid():
        raise CommitLost(f"{lock.path} was deleted or replaced")


def has_no_valid_snapshot(data: DataDirectory) -> bool:
    """Whether snapshots were published, and neither the last nor a kept one is
    valid.
    """
    try:
        find_snapshot(data)
    except SnapshotLost:
        return True
    return False


def unused_generation(data: DataDirectory) -> int:
    """A generation that no snapshot, known or lost, and no part has had.

    A commit keeps only the snapshot before it, so a lost one may be one above all kept.
    """
    newest = max(kept_generations(data), default=0) + 1
    return max(newest, newest_part_generation(data)) + 1


def quarantine_file(data: DataDirectory, path: Path, name: str) -> None:
    """Hard-link a damaged file into quarantine/, durably. A missing file is ignored."""
    try:
        hard_link(path, data.damaged_copy(name))
    except FileNotFoundError:
        return
    sync_directory(data.quarantine)
