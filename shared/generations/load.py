"""Loading the snapshot: the published one, or the newest kept one that is intact.

An older generation may be served, but never a guess.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from shared.disk.layout import DataDirectory, parse_day, parse_kept_snapshot, parse_part
from shared.disk.listing import list_files
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot


class SnapshotLost(SnapshotDamaged):
    """There is no whole snapshot, published or kept, though there was one."""


class LoadedSnapshot(NamedTuple):
    """The snapshot to read, the bytes of its file, and why it is not the one in
    snapshot.json (None when it is).
    """

    snapshot: Snapshot
    content: bytes
    damage: str | None


def load_snapshot(data: DataDirectory) -> Snapshot:
    """The published snapshot, or the newest kept one that is whole, or generation 0
    where there is none yet.
    """
    return find_snapshot(data).snapshot


def find_snapshot(data: DataDirectory) -> LoadedSnapshot:
    """As `load`, with what is wrong. Raises SnapshotLost when something was published
    and no snapshot of it is whole.
    """
    try:
        content = data.snapshot.read_bytes()
        return LoadedSnapshot(decode_snapshot(content, data.snapshot), content, None)
    except FileNotFoundError:
        damage = f"{data.snapshot} is gone" if was_published(data) else None
    except SnapshotDamaged as error:
        damage = str(error)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        damage = f"{data.snapshot} cannot be read: {error.strerror}"
    return _newest_kept(data, damage) if damage and was_published(data) else LoadedSnapshot(Snapshot(), b"", damage)


def was_published(data: DataDirectory) -> bool:
    """Whether there was a snapshot that cannot be done without: one is kept, or there
    are parts of a second pass or later.

    A first pass deletes no segment. So where its snapshot is damaged, or it was killed
    before its commit, beginning anew loses nothing.
    """
    return bool(kept_generations(data)) or newest_part_generation(data) > 1


def newest_part_generation(data: DataDirectory) -> int:
    """The highest generation that a part of any snapshot, published or not, is of; 0
    when there is none.
    """
    days = (folder for kind in (data.archive, data.counters) for folder in list_files(kind) if parse_day(folder.name))
    generations = (parse_part(path.name) for folder in days for path in list_files(folder))
    return max((generation for generation in generations if generation is not None), default=0)


def _newest_kept(data: DataDirectory, damage: str) -> LoadedSnapshot:
    for generation in kept_generations(data):
        path = data.kept_snapshot(generation)
        try:
            content = path.read_bytes()
            return LoadedSnapshot(decode_snapshot(content, path), content, damage)
        except (FileNotFoundError, SnapshotDamaged):
            continue
    raise SnapshotLost(
        f"{damage}, and no snapshot.<generation>.json beside it is whole. Nothing was changed. Restore snapshot.json from a "
        "backup, or run `foldlog rebuild`: it counts again what the parts and the retained log hold."
    )


def kept_generations(data: DataDirectory) -> list[int]:
    """The generations of the kept snapshots, whole or not, newest first."""
    found = (parse_kept_snapshot(path.name) for path in list_files(data.root))
    return sorted((generation for generation in found if generation is not None), reverse=True)
