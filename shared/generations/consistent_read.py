"""Reading the parts of the published snapshot without the compactor's lock: they may be
swept away meanwhile.

A pass leaves a part for three passes more, an erasure for none. Whoever reads then
begins again with the next snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import duckdb

from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Snapshot

TRIES = 5
T = TypeVar("T")


class PartsReplaced(TemporaryFailure):
    """The parts of one snapshot after the other were gone before they were read. Says
    what to do next.
    """


def read_published(data: DataDirectory, read: Callable[[Snapshot], T]) -> T:
    """What `read` makes of the published snapshot, or of a later one when parts of that
    were swept away meanwhile.

    `read` may be called several times. Raises PartsReplaced, and what `read` raises of
    parts that are those of the snapshot.
    """
    for _ in range(TRIES):
        snapshot = load_snapshot(data)
        try:
            return read(snapshot)
        except (duckdb.IOException, PartDamaged):
            if load_snapshot(data).generation == snapshot.generation:
                raise
    raise PartsReplaced(
        f"visitors are being erased, and {TRIES} times the parts were replaced before they were read; try again"
    )
