"""Which parts that a snapshot names are there, by a look at their names and lengths
alone.

In a copy of a running directory some are not (docs/backup.md), and what lies beside
those that are may hold the same events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from shared.disk.layout import DataDirectory, parse_part
from shared.generations.snapshot import Day, Part, Snapshot
from shared.segments.sealed import files_of


def missing_parts(data: DataDirectory, snapshot: Snapshot) -> Iterator[Path]:
    """Parts that a snapshot names and that are not there, or are not as long. Looks at
    no byte of them.

    Left out are those of days without a whole archive where nothing that lies there
    could take their place.
    """
    for day, kept in snapshot.days.items():
        absent = [path for path, part in _parts_of(data, day, kept) if not _has_length(path, part.bytes)]
        if absent and (not kept.expired or unnamed_parts(data, snapshot, day)):
            yield from absent


def _parts_of(data: DataDirectory, day: date, kept: Day) -> Iterator[tuple[Path, Part]]:
    for part in kept.archive:
        yield data.part("archive", day, part.generation), part
    if kept.counters is not None:
        yield data.part("counters", day, kept.counters.generation), kept.counters


def _has_length(path: Path, length: int) -> bool:
    try:
        return path.stat().st_size == length
    except FileNotFoundError:
        return False


def unnamed_parts(data: DataDirectory, snapshot: Snapshot, day: date) -> list[Path]:
    """What lies in the folders of a day beside the parts that a snapshot names, by kind
    and generation.
    """
    kept = snapshot.days.get(day, Day(""))
    named = {path for path, _ in _parts_of(data, day, kept)}
    return [
        path
        for kind in (data.archive, data.counters)
        for path in files_of(kind / day.isoformat())
        if parse_part(path.name) is not None and path not in named
    ]
