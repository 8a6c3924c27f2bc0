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
from shared.exit_codes import TryAgain
from shared.generations.archive_schema import PartDamaged
from shared.generations.snapshot import Snapshot, load

TRIES = 5
T = TypeVar("T")


class SweptAway(TryAgain):
    """The parts of one snapshot after the other were gone before they were read. Says
    what to do next.
    """


def of_published(data: DataDirectory, read: Callable[[Snapshot], T]) -> T:
    """What `read` makes of the published snapshot, or of a later one when parts of that
    were swept away meanwhile.

    `read` may be called several times. Raises SweptAway, and whatever `read` raises of
    parts that are those of the snapshot.
    """
    for _ in range(TRIES):
        snapshot = load(data)
        try:
            return read(snapshot)
        except (duckdb.IOException, PartDamaged):
            if load(data).generation == snapshot.generation:
                raise
    raise SweptAway(
        f"visitors are being erased, and {TRIES} times the parts were replaced before they were read; try again"
    )
