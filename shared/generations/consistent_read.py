"""Reading the parts of the published snapshot without the compactor's lock.

Replaced parts stay on disk for three more passes, but an erasure deletes them at once.
A reader that loses a part retries on the newest snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Snapshot

TRIES = 5
T = TypeVar("T")


class PartsReplaced(TemporaryFailure):
    """The parts of `tries` snapshots in a row were deleted before they were read."""

    def __init__(self, tries: int) -> None:
        super().__init__(tries)
        self.tries = tries

    def __str__(self) -> str:
        return (
            f"visitors are being erased, and {self.tries} times the parts were replaced before they were read; "
            f"try again"
        )


def read_published(data: DataDirectory, read: Callable[[Snapshot], T]) -> T:
    """The result of `read` for the published snapshot, or for a newer one if parts were
    deleted meanwhile: then `read` is called again.

    Raises PartsReplaced, and what `read` raises if the snapshot is still the published
    one.
    """
    import duckdb  # here, as in duckdb_engine.connect

    for _ in range(TRIES):
        snapshot = load_snapshot(data)
        try:
            return read(snapshot)
        except (duckdb.IOException, PartDamaged):
            if load_snapshot(data).generation == snapshot.generation:
                raise
    raise PartsReplaced(TRIES)
