"""The commit of a pass: one rename of snapshot.json (P5), and what may be deleted once
it is durable.

Only the holder of the compactor's lock commits, and it looks again before the rename:
the generation on disk must still be the one that it started from, and the lock file
still the one that it holds (a deleted lock file lets a second process in).

A damaged snapshot.json is replaced by the newest kept one that is whole; what that one
has not folded is folded again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import msgspec
from filelock import Timeout, UnixFileLock, lock_descriptor

from shared.disk.durable import hard_link, publish, publishing, remove, remove_empty_directory, sync_directory
from shared.disk.layout import DataDirectory, parse_day, parse_part
from shared.disk.listing import temp_files
from shared.exit_codes import TemporaryFailure
from shared.generations.load import (
    LoadedSnapshot,
    SnapshotLost,
    find_snapshot,
    kept_generations,
    load_snapshot,
    newest_part_generation,
)
from shared.generations.part_presence import referenced_parts
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot, encode_snapshot

KEPT_SNAPSHOTS = 3
# For how long whoever is asked by a person waits for a pass to end.
LOCK_PATIENCE_S = 60.0
KINDS = ("archive", "counters")


class CompactorBusy(TemporaryFailure):
    """Another process is compacting this data directory."""


class CommitLost(TemporaryFailure):
    """Somebody else committed, or took the lock, during the pass. Nothing was
    published; the next pass starts anew.
    """


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
    """Hold the compactor's lock. Raises CompactorBusy when another process has it for
    longer than `timeout_s`.
    """
    lock = UnixFileLock(data.compact_lock, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        raise CompactorBusy(f"another process is compacting {data.root}") from None
    try:
        with _locked_directory(data):
            yield CompactorLock(data, data.compact_lock.stat().st_ino)
    finally:
        lock.release()


@contextmanager
def _locked_directory(data: DataDirectory) -> Iterator[None]:
    """A lock that nobody deletes: on the directory itself. Whoever got past a deleted
    compact.lock gets no further.

    Looking before the commit would be too late: parts are named by their generation,
    and the second process would put its own in the place of those that the first has
    committed or is about to.
    """
    descriptor = os.open(data.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not lock_descriptor(descriptor, blocking=False):
            raise CompactorBusy(f"another process is compacting {data.root}; its {data.compact_lock.name} was deleted")
        yield
    finally:
        os.close(descriptor)


def commit(data: DataDirectory, before: Snapshot, after: Snapshot, lock: CompactorLock) -> None:
    """Publish `after`, whose parts are all published. Raises CommitLost when it may
    not.
    """
    with publishing(data.snapshot) as beside:
        beside.write_bytes(encode_snapshot(after))
        if load_snapshot(data).generation != before.generation:
            raise CommitLost(f"generation {before.generation} was replaced by another process")
        check_held(data, lock)
        if before.generation:
            hard_link(data.snapshot, data.kept_snapshot(before.generation))


def check_held(data: DataDirectory, lock: CompactorLock) -> None:
    if not lock.is_held():
        raise CommitLost(f"{data.compact_lock} was deleted or replaced")


def restore(data: DataDirectory, found: LoadedSnapshot, lock: CompactorLock) -> Snapshot:
    """Publish the kept snapshot that was found in the place of the damaged one. Raises
    CommitLost when it may not.

    It loses nothing: no segment is deleted before every kept snapshot has folded it,
    and no part before none of them names it. Its generation is higher than any that was
    ever published: a part is named by its generation, so no part of a pass that is lost
    with the damaged snapshot is overwritten while somebody still reads it, and whoever
    waits for a newer generation is not told of an older one.
    """
    after = msgspec.structs.replace(found.snapshot, generation=unused_generation(data))
    replace_damaged(data, after, lock)
    return after


def replace_damaged(data: DataDirectory, after: Snapshot, lock: CompactorLock) -> None:
    """Publish a snapshot in the place of one that is damaged or gone. Raises CommitLost
    when it is neither.
    """
    with publishing(data.snapshot) as beside:
        beside.write_bytes(encode_snapshot(after))
        if not is_lost(data) and find_snapshot(data).damage is None:
            raise CommitLost("another process replaced the damaged snapshot")
        check_held(data, lock)
        set_aside(data, data.snapshot, f"snapshot.{after.generation - 1}.json")


def is_lost(data: DataDirectory) -> bool:
    """Whether there was a snapshot and none is whole, published or kept."""
    try:
        find_snapshot(data)
    except SnapshotLost:
        return True
    return False


def unused_generation(data: DataDirectory) -> int:
    """A generation that no snapshot had, known or lost, and no part. At a commit only
    the one before it gets a kept name.
    """
    newest = max(kept_generations(data), default=0) + 1
    return max(newest, newest_part_generation(data)) + 1


def set_aside(data: DataDirectory, path: Path, name: str) -> None:
    """Give a damaged file a second name in quarantine/, durably. What is gone cannot be
    kept.
    """
    try:
        hard_link(path, data.set_aside(name))
    except FileNotFoundError:
        return
    sync_directory(data.quarantine)


def kept_snapshots(data: DataDirectory) -> list[Snapshot]:
    """The snapshots that may have to take the place of a damaged one, as far as they
    are whole.
    """
    return _read_whole(data, kept_generations(data)[:KEPT_SNAPSHOTS])


def drop_old_snapshots(data: DataDirectory, current: Snapshot) -> None:
    """Keep the last three snapshots and every part that they or the current one name;
    remove what only older ones did.

    A kept one that is damaged is of no use here: it is put into quarantine.
    """
    kept = _kept_and_whole(data)
    newest, old = list(kept)[:KEPT_SNAPSHOTS], list(kept)[KEPT_SNAPSHOTS:]
    needed = part_names([current, *(kept[generation] for generation in newest)])
    unneeded = {data.part(*name) for name in part_names(kept[generation] for generation in old) - needed}
    remove(unneeded)
    for directory in {path.parent for path in unneeded}:
        remove_empty_directory(directory)
    remove(data.kept_snapshot(generation) for generation in old)


def forget_history(data: DataDirectory, current: Snapshot) -> None:
    """Remove every snapshot before the current one, and every part that it does not
    name. A copy of it becomes the spare.
    """
    publish(data.kept_snapshot(current.generation), encode_snapshot(current))
    remove(data.kept_snapshot(generation) for generation in kept_generations(data) if generation != current.generation)
    sweep_orphans(data, current)


def _kept_and_whole(data: DataDirectory) -> dict[int, Snapshot]:
    """The kept snapshots by generation, newest first; a damaged one is set aside."""
    whole = {}
    for generation in kept_generations(data):
        snapshot = _read_kept(data, generation)
        if snapshot is not None:
            whole[generation] = snapshot
            continue
        path = data.kept_snapshot(generation)
        set_aside(data, path, path.name)
        remove([path])
    return whole


def sweep_orphans(data: DataDirectory, current: Snapshot) -> int:
    """Remove what a killed pass left: parts that no kept snapshot names, and a snapshot
    that was not published.

    Looks at every part, so it runs at start only.
    """
    names = part_names([current, *_read_whole(data, kept_generations(data))])
    needed = {data.part(*name) for name in names}
    orphans = [path for path in _all_parts(data) if path not in needed]
    return remove([*orphans, *temp_files(data.root, lambda target: target == data.snapshot.name)])


def part_names(snapshots: Iterable[Snapshot]) -> set[tuple[str, date, int]]:
    """Kind, day and generation of all parts that the snapshots reference. Not paths:
    those of two years would take a fifth of a small pass.
    """
    return {
        (each.kind, each.day, each.part.generation) for snapshot in snapshots for each in referenced_parts(snapshot)
    }


def _all_parts(data: DataDirectory) -> Iterator[Path]:
    for kind in KINDS:
        for directory in (data.root / kind).iterdir():
            if parse_day(directory.name) is None:
                continue
            for path in directory.iterdir():
                # Only our own names: what somebody else put there is not ours to
                # delete.
                if parse_part(path.name) is not None or path.name.startswith(".g"):
                    yield path


def _read_whole(data: DataDirectory, generations: list[int]) -> list[Snapshot]:
    found = (_read_kept(data, generation) for generation in generations)
    return [snapshot for snapshot in found if snapshot is not None]


def _read_kept(data: DataDirectory, generation: int) -> Snapshot | None:
    path = data.kept_snapshot(generation)
    try:
        return decode_snapshot(path.read_bytes(), path)
    except (OSError, SnapshotDamaged):
        return None
