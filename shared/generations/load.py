"""Loading the snapshot: the published one, or the newest kept one that is intact.

A reader may get an older generation, never a guess.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NamedTuple

from shared.disk.layout import DataDirectory, parse_day, parse_kept_snapshot, parse_part
from shared.disk.listing import list_files
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot

_MISSING = "is missing"


class SnapshotLost(SnapshotDamaged):
    """Snapshots were published, and neither the last nor a kept one is intact."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}, and no snapshot.<generation>.json beside it is intact. Nothing was changed. Restore "
            "snapshot.json from a backup, or run `foldlog rebuild`: it counts again what the parts and the retained "
            "log hold."
        )


class LoadedSnapshot(NamedTuple):
    """The snapshot to read and the bytes of its file. `damage`: why it is not
    snapshot.json; None if it is.
    """

    snapshot: Snapshot
    content: bytes
    damage: SnapshotDamaged | None


def load_snapshot(data: DataDirectory) -> Snapshot:
    """The published snapshot, else the newest intact kept one; generation 0 if there is
    none yet. Raises SnapshotLost and DataFromNewerVersion.
    """
    return find_snapshot(data).snapshot


def find_snapshot(data: DataDirectory) -> LoadedSnapshot:
    """As `load_snapshot`, with the damage that it found."""
    try:
        content = data.snapshot.read_bytes()
        return LoadedSnapshot(decode_snapshot(content, data.snapshot), content, None)
    except SnapshotDamaged as error:
        damage = error
    except OSError as error:
        damage = _read_error(data.snapshot, error)
    if was_published(data):
        return _newest_kept(data, damage)
    return LoadedSnapshot(Snapshot(), b"", None if damage.error == _MISSING else damage)


def _read_error(path: Path, error: OSError) -> SnapshotDamaged:
    if error.errno == errno.ENOENT:
        return SnapshotDamaged(path, _MISSING)
    if error.errno == errno.EIO:
        return SnapshotDamaged(path, f"cannot be read: {error.strerror}")
    raise error


def was_published(data: DataDirectory) -> bool:
    """Whether a snapshot that is needed was published: one is kept, or there are parts
    of a second pass or later.

    A first pass deletes no segment. If its snapshot is damaged, or it was killed before
    its commit, starting from generation 0 loses nothing.
    """
    return bool(kept_generations(data)) or newest_part_generation(data) > 1


def newest_part_generation(data: DataDirectory) -> int:
    """The highest generation of all parts on disk, referenced or not; 0 if there are
    none.
    """
    days = (folder for kind in data.part_folders for folder in list_files(kind) if parse_day(folder.name))
    generations = (parse_part(path.name) for folder in days for path in list_files(folder))
    return max((generation for generation in generations if generation is not None), default=0)


def _newest_kept(data: DataDirectory, damage: SnapshotDamaged) -> LoadedSnapshot:
    for generation in kept_generations(data):
        path = data.kept_snapshot(generation)
        try:
            content = path.read_bytes()
            return LoadedSnapshot(decode_snapshot(content, path), content, damage)
        except (FileNotFoundError, SnapshotDamaged):
            continue
    raise SnapshotLost(damage.path, damage.error)


def kept_generations(data: DataDirectory) -> list[int]:
    """The generations of the kept snapshots, intact or not, newest first."""
    found = (parse_kept_snapshot(path.name) for path in list_files(data.root))
    return sorted((generation for generation in found if generation is not None), reverse=True)
