"""The kept snapshots: earlier generations, any of which may replace a damaged
snapshot.json.
"""

from __future__ import annotations

from shared.disk.layout import DataDirectory
from shared.generations.load import kept_generations
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot

KEPT_SNAPSHOTS = 3


def kept_snapshots(data: DataDirectory) -> list[Snapshot]:
    """The newest KEPT_SNAPSHOTS kept snapshots, without damaged ones."""
    return read_kept(data, kept_generations(data)[:KEPT_SNAPSHOTS])


def read_kept(data: DataDirectory, generations: list[int]) -> list[Snapshot]:
    """The kept snapshots of these generations, without damaged ones."""
    found = (read_kept_snapshot(data, generation) for generation in generations)
    return [snapshot for snapshot in found if snapshot is not None]


def read_kept_snapshot(data: DataDirectory, generation: int) -> Snapshot | None:
    """One kept snapshot, or None when it is damaged or cannot be read."""
    path = data.kept_snapshot(generation)
    try:
        return decode_snapshot(path.read_bytes(), path)
    except (OSError, SnapshotDamaged):
        return None
