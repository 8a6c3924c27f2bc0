"""The index of ids: for each archive part, of the same generation, the sorted numbers
of the ids in it that clients made.

A pass finds with it which of its lines may repeat an archived event, without reading
the archive. Each match is confirmed by the text of the id, so an index may hold numbers
of events that are gone. It follows from the archive: where one is missing, it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from compactor.context import PassContext
from compactor.generations.archive import OpenedPart, open_parts
from compactor.generations.part_files import write_part
from compactor.sql import count_rows, sql_list
from shared.generations.part_integrity import PartDamaged, verified_part
from shared.generations.snapshot import Part, Snapshot
from shared.sql.archive_events import stored_id_number_sql
from shared.sql.parquet import parquet


@dataclass
class ArchivedIds:
    """The archive parts of some days, and the file of the index of each, with the file
    of its part. `made`: indexes that the snapshot does not have yet.

    An archive part of server-made ids alone has no index.
    """

    parts: list[OpenedPart] = field(default_factory=list)
    index: dict[Path, Path] = field(default_factory=dict)
    made: dict[date, list[Part]] = field(default_factory=dict)


def open_ids(context: PassContext, snapshot: Snapshot, days: Iterable[date]) -> ArchivedIds:
    """Raises PartDamaged for an archive part."""
    found = ArchivedIds()
    for day in days:
        if day in snapshot.days:
            _open_day(context, snapshot, day, found)
    return found


def _open_day(context: PassContext, snapshot: Snapshot, day: date, found: ArchivedIds) -> None:
    ids = {part.generation: part for part in snapshot.days[day].ids}
    for part, path in open_parts(context.data, "archive", day, snapshot.days[day].archive):
        found.parts.append((part, path))
        index = ids.get(part.generation)
        if index is not None and _is_intact(context, day, index):
            found.index[context.data.part("ids", day, part.generation)] = path
        elif (index is not None or part.version == 1) and (made := write_ids(context, day, part.generation, [path])):
            found.made.setdefault(day, []).append(made)
            found.index[context.data.part("ids", day, part.generation)] = path


def _is_intact(context: PassContext, day: date, index: Part) -> bool:
    try:
        verified_part(context.data, "ids", day, index)
    except PartDamaged as error:
        reason = str(error.error)
        context.log.warning("part_damaged", part=str(error.path), reason=reason, action="none: it is made again")
        return False
    return True


def write_ids(context: PassContext, day: date, generation: int, archive: Iterable[Path]) -> Part | None:
    """Publish the index of archive parts, which are one part of that generation."""
    paths = sql_list(archive)
    rows = count_rows(
        context.database,
        f"(SELECT client_id FROM {parquet(paths)} WHERE client_id IS NOT NULL)",
    )
    numbers = f"SELECT {stored_id_number_sql('site', 'client_id')} AS number FROM {parquet(paths)}"
    return write_part(context, "ids", day, generation, f"{numbers} WHERE client_id IS NOT NULL ORDER BY number", rows)


def with_made(old: Iterable[Part], made: Iterable[Part]) -> tuple[Part, ...]:
    """The indexes of a day, `made` in place of those of the same generation."""
    found = {part.generation: part for part in (*old, *made)}
    return tuple(found[generation] for generation in sorted(found))
