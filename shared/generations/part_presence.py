"""The parts that a snapshot references, and which of them are on disk, by their names
and lengths alone.

In a copy of a running directory some parts are missing (docs/backup.md), and
unreferenced parts beside them may hold the same events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

from shared.disk.layout import PART_KINDS, DataDirectory, parse_part
from shared.disk.listing import list_files
from shared.generations.snapshot import Part, Snapshot


class ReferencedPart(NamedTuple):
    """A part as a snapshot references it. `kind` is one of PART_KINDS."""

    kind: str
    day: date
    part: Part

    def path(self, data: DataDirectory) -> Path:
        return data.part(self.kind, self.day, self.part.generation)


def referenced_parts(snapshot: Snapshot) -> Iterator[ReferencedPart]:
    """Every part that a snapshot references, by day and by kind."""
    for day in snapshot.days:
        yield from referenced_parts_of_day(snapshot, day)


def referenced_parts_of_day(snapshot: Snapshot, day: date) -> Iterator[ReferencedPart]:
    """The same of one day; none for a day that the snapshot does not have."""
    if day not in snapshot.days:
        return
    kept = snapshot.days[day]
    for kind in PART_KINDS:
        for part in getattr(kept, kind):
            yield ReferencedPart(kind, day, part)


def is_present(path: Path, part: Part) -> bool:
    """Whether a part is on disk with the length that the snapshot gives."""
    try:
        return path.stat().st_size == part.bytes
    except FileNotFoundError:
        return False


def missing_parts(data: DataDirectory, snapshot: Snapshot) -> Iterator[Path]:
    """Referenced parts that are absent or of another length. Reads no content.

    A day without a whole archive is left out if no file on disk could replace what it
    lacks.
    """
    for day, kept in snapshot.days.items():
        referenced = ((each.path(data), each.part) for each in referenced_parts_of_day(snapshot, day))
        absent = [path for path, part in referenced if not is_present(path, part)]
        if absent and (not kept.expired or unreferenced_parts(data, snapshot, day)):
            yield from absent


def unreferenced_parts(data: DataDirectory, snapshot: Snapshot, day: date) -> list[Path]:
    """The parts in the folders of a day that the snapshot does not reference, by kind
    and generation.
    """
    referenced = {each.path(data) for each in referenced_parts_of_day(snapshot, day)}
    return [
        path
        for kind in PART_KINDS
        for path in list_files(data.root / kind / day.isoformat())
        if parse_part(path.name) is not None and path not in referenced
    ]
