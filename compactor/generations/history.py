"""Earlier generations: how many are kept, and how one replaces a damaged snapshot."""

from __future__ import annotations

import msgspec

from compactor.generations.commit import quarantine_file, replace_damaged, unused_generation
from compactor.generations.garbage import part_names, sweep_host_parts, sweep_orphans
from compactor.generations.kept import KEPT_SNAPSHOTS, read_kept_snapshot
from compactor.lock import CompactorLock
from shared.disk.durable import publish, remove, remove_empty_directory
from shared.disk.layout import DataDirectory
from shared.generations.load import LoadedSnapshot, find_snapshot, kept_generations
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.log import Log

# After this an erasure at another host has left the parts that this one keeps.
UNUSED_S = 86_400


def load_or_restore_snapshot(data: DataDirectory, log: Log, lock: CompactorLock) -> Snapshot:
    """The snapshot that the next generation builds on. A damaged one is quarantined and
    replaced first. Raises SnapshotLost and CommitLost.
    """
    found = find_snapshot(data)
    if found.damage is None:
        return found.snapshot
    restored = restore(data, found, lock)
    log.warning(
        "snapshot_damaged",
        reason=str(found.damage),
        went_back_to=found.snapshot.generation,
        generation=restored.generation,
    )
    return restored


def restore(data: DataDirectory, found: LoadedSnapshot, lock: CompactorLock) -> Snapshot:
    """Publish the kept snapshot that `find` returned instead of the damaged one. Raises
    CommitLost.

    Nothing is lost: a segment is deleted only after every kept snapshot has folded it,
    a part only after none references it. The new generation is higher than any that
    was ever published. So no part of a lost pass is overwritten while a reader uses it,
    and a client that waits for a newer generation never receives an older one.
    """
    after = msgspec.structs.replace(found.snapshot, generation=unused_generation(data))
    replace_damaged(data, after, lock)
    return after


def prune_history(data: DataDirectory, current: Snapshot) -> None:
    """Keep the last KEPT_SNAPSHOTS snapshots and the parts that they or the current one
    reference; remove older snapshots and their parts.

    A damaged kept snapshot is quarantined.
    """
    kept = _quarantine_damaged(data)
    newest, old = list(kept)[:KEPT_SNAPSHOTS], list(kept)[KEPT_SNAPSHOTS:]
    needed = part_names([current, *(kept[generation] for generation in newest)])
    unneeded = {data.part(*name) for name in part_names(kept[generation] for generation in old) - needed}
    remove(unneeded)
    for directory in {path.parent for path in unneeded}:
        remove_empty_directory(directory)
    remove(data.kept_snapshot(generation) for generation in old)
    sweep_host_parts(data, UNUSED_S)


def purge_history(data: DataDirectory, current: Snapshot) -> None:
    """Remove all earlier snapshots, and every part that the current one does not
    reference; of other hosts all. A copy of the current one becomes the only kept
    snapshot.
    """
    if current.generation:  # before the first one there is nothing to fall back to
        publish(data.kept_snapshot(current.generation), encode_snapshot(current))
    remove(data.kept_snapshot(generation) for generation in kept_generations(data) if generation != current.generation)
    sweep_orphans(data, current)
    sweep_host_parts(data, 0)


def _quarantine_damaged(data: DataDirectory) -> dict[int, Snapshot]:
    """The kept snapshots by generation, newest first, after damaged ones were moved to
    quarantine/.
    """
    valid = {}
    for generation in kept_generations(data):
        snapshot = read_kept_snapshot(data, generation)
        if snapshot is not None:
            valid[generation] = snapshot
            continue
        path = data.kept_snapshot(generation)
        quarantine_file(data, path, path.name)
        remove([path])
    return valid
