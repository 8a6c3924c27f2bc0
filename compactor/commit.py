"""The commit of a pass: one rename of snapshot.json (P5), and what may be deleted once it is durable.

Only the holder of the compactor's lock commits, and it looks again before the rename: the generation on disk must still be
the one that it started from, and the lock file still the one that it holds (a deleted lock file lets a second process in).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout, UnixFileLock

from shared.layout import DataDirectory, parse_day, parse_kept_snapshot, parse_part
from shared.publish import keep_as, publishing, remove, remove_empty_directory
from shared.snapshot import Snapshot, SnapshotDamaged, decode, encode, load

KEPT_SNAPSHOTS = 3
KINDS = ("archive", "counters")


class CompactorBusy(Exception):
    """Another process is compacting this data directory."""


class CommitLost(Exception):
    """Somebody else committed, or took the lock, during the pass. Nothing was published; the next pass starts anew."""


class CompactorLock:
    """The right to commit. Made by `compactor_lock`."""

    def __init__(self, data: DataDirectory, inode: int) -> None:
        self._path = data.compact_lock
        self._inode = inode

    def is_held(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False


@contextmanager
def compactor_lock(data: DataDirectory, timeout_s: float = 0) -> Iterator[CompactorLock]:
    """Hold the compactor's lock. Raises CompactorBusy when another process has it for longer than `timeout_s`."""
    lock = UnixFileLock(data.compact_lock, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        raise CompactorBusy(f"another process is compacting {data.root}") from None
    try:
        yield CompactorLock(data, data.compact_lock.stat().st_ino)
    finally:
        lock.release()


def commit(data: DataDirectory, before: Snapshot, after: Snapshot, lock: CompactorLock) -> None:
    """Publish `after`, whose parts are all published. Raises CommitLost when it may not."""
    with publishing(data.snapshot) as beside:
        beside.write_bytes(encode(after))
        if load(data).generation != before.generation:
            raise CommitLost(f"generation {before.generation} was replaced by another process")
        if not lock.is_held():
            raise CommitLost(f"{data.compact_lock} was deleted or replaced")
        if before.generation:
            keep_as(data.snapshot, data.kept_snapshot(before.generation))


def drop_old_snapshots(data: DataDirectory, current: Snapshot) -> None:
    """Keep the last three snapshots and every part that they or the current one name; remove what only older ones did."""
    kept = sorted(_kept_generations(data), reverse=True)
    old = [_read_kept(data, generation) for generation in kept[KEPT_SNAPSHOTS:]]
    needed = named_parts(data, current)
    for generation in kept[:KEPT_SNAPSHOTS]:
        needed |= named_parts(data, _read_kept(data, generation))
    unneeded = set().union(*(named_parts(data, snapshot) for snapshot in old)) - needed
    remove(unneeded)
    for directory in {path.parent for path in unneeded}:
        remove_empty_directory(directory)
    remove(data.kept_snapshot(generation) for generation in kept[KEPT_SNAPSHOTS:])


def sweep_orphans(data: DataDirectory, current: Snapshot) -> int:
    """Remove parts that no kept snapshot names: what a killed pass left. Looks at every part, so it runs at start only."""
    needed = named_parts(data, current)
    for generation in _kept_generations(data):
        needed |= named_parts(data, _read_kept(data, generation))
    orphans = [path for path in _all_parts(data) if path not in needed]
    return remove(orphans)


def named_parts(data: DataDirectory, snapshot: Snapshot) -> set[Path]:
    """Paths of all parts of a snapshot."""
    archive = {data.part("archive", day, part.generation) for day, kept in snapshot.days.items() for part in kept.archive}
    counters = {data.part("counters", day, kept.counters.generation) for day, kept in snapshot.days.items() if kept.counters}
    return archive | counters


def _all_parts(data: DataDirectory) -> Iterator[Path]:
    for kind in KINDS:
        for directory in (data.root / kind).iterdir():
            if parse_day(directory.name) is None:
                continue
            for path in directory.iterdir():
                # Only our own names: what somebody else put there is not ours to delete.
                if parse_part(path.name) is not None or path.name.startswith(".g"):
                    yield path


def _kept_generations(data: DataDirectory) -> list[int]:
    found = (parse_kept_snapshot(path.name) for path in data.root.glob("snapshot.*.json"))
    return [generation for generation in found if generation is not None]


def _read_kept(data: DataDirectory, generation: int) -> Snapshot:
    path = data.kept_snapshot(generation)
    try:
        return decode(path.read_bytes(), path)
    except (FileNotFoundError, SnapshotDamaged):
        return Snapshot()
