"""Orphans: parts that no snapshot references, and snapshots that were never published.
A killed pass leaves them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

from compactor.generations.kept import read_kept
from shared.disk.durable import remove
from shared.disk.layout import PART_KINDS, DataDirectory, parse_day, parse_host_part, parse_part
from shared.disk.listing import list_files, temp_files
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


def sweep_host_parts(data: DataDirectory, unused_s: float) -> int:
    """Remove parts of other hosts that no question has used for so long: the hosts may
    have erased what they hold. Returns how many.
    """
    before = time.time() - unused_s
    unused = []
    for path in list_files(data.hosts):
        with suppress(FileNotFoundError):  # a reader has removed it
            if parse_host_part(path.name) and path.stat().st_atime <= before:
                unused.append(path)
    return remove(unused)


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
