"""Orphans: parts that no snapshot references, and snapshots that were never published.
A killed pass leaves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from compactor.generations.kept import read_kept
from shared.disk.durable import remove
from shared.disk.layout import PART_KINDS, DataDirectory, parse_day, parse_part
from shared.disk.listing import temp_files
from shared.generations.load import kept_generations
from shared.generations.part_presence import referenced_parts
from shared.generations.snapshot import Snapshot


def sweep_orphans(data: DataDirectory, current: Snapshot) -> int:
    """Remove parts that neither `current` nor a kept snapshot references, and the
    temporary files of snapshots that were never published. Returns how many.

    It lists every part, so it runs at start only.
    """
    names = part_names([current, *read_kept(data, kept_generations(data))])
    referenced = {data.part(*name) for name in names}
    orphans = [path for path in _all_parts(data) if path not in referenced]
    return remove([*orphans, *temp_files(data.root, lambda target: target == data.snapshot.name)])


def part_names(snapshots: Iterable[Snapshot]) -> set[tuple[str, date, int]]:
    """Kind, day and generation of all parts that the snapshots reference. Not paths:
    those of two years would take a fifth of a small pass.
    """
    return {
        (each.kind, each.day, each.part.generation) for snapshot in snapshots for each in referenced_parts(snapshot)
    }


def _all_parts(data: DataDirectory) -> Iterator[Path]:
    for kind in PART_KINDS:
        for directory in (data.root / kind).iterdir():
            if parse_day(directory.name) is None:
                continue
            for path in directory.iterdir():
                # Only Foldlog's own names: a foreign file must not be deleted.
                if parse_part(path.name) is not None or path.name.startswith(".g"):
                    yield path
