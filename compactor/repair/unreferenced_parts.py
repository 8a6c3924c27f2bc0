"""What a rebuild can believe where parts are damaged or gone: the whole ones, and what
lies beside them unnamed.

In a copy of a running directory the parts of a day may be there in an earlier or a
later form than the snapshot names. Each of them that can be read is believed for the
days that lack something, or that have parts of a later generation; of events that stand
in several of them one counts. No sha256 vouches for a part that no snapshot names.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from compactor.context import PassContext
from compactor.repair.directory_check import newer_parts
from compactor.repair.reconstruct_snapshot import events_counted, read_part, with_part
from shared.disk.layout import DataDirectory, parse_part
from shared.generations.part_integrity import PartError, part_error
from shared.generations.part_presence import referenced_parts, unreferenced_parts
from shared.generations.snapshot import Day, Part, Snapshot
from shared.log import Log


class DamagedPart(NamedTuple):
    """A part that a snapshot names and that is not what it names."""

    kind: str
    day: date
    part: Part
    error: PartError


class Spare(NamedTuple):
    """Counters that can stand for a day of which no archive is left, and how many
    events they count.
    """

    day: Day
    events: int

    @property
    def has_visitors(self) -> bool:
        """Whether its visitors were counted for good, as they are before an archive
        goes.
        """
        return self.day.visitor_zone is not None


class Salvaged(NamedTuple):
    """The snapshot with the parts that are believed, which of them no snapshot names,
    and spares by day.
    """

    snapshot: Snapshot
    unnamed: frozenset[Path]
    spares: dict[date, Spare]


def damaged_parts(data: DataDirectory, snapshot: Snapshot, log: Log) -> list[DamagedPart]:
    """Read every part. Each that is damaged is a warning."""
    found = []
    for kind, day, part in referenced_parts(snapshot):
        path = data.part(kind, day, part.generation)
        if error := part_error(path, part):
            found.append(DamagedPart(kind, day, part, error))
            todo = "counters that lie there take its place; if none do, restore it from a backup: nothing else holds what it held"
            log.warning(
                "part_damaged",
                part=str(path),
                reason=str(error),
                action=todo if snapshot.days[day].expired else "it is made again",
            )
    return found


def without(snapshot: Snapshot, damaged: Iterable[DamagedPart]) -> Snapshot:
    """The snapshot with whole archive parts only."""
    broken = {(each.day, each.part) for each in damaged if each.kind == "archive"}
    days = {
        day: msgspec.structs.replace(kept, archive=tuple(part for part in kept.archive if (day, part) not in broken))
        for day, kept in snapshot.days.items()
    }
    return msgspec.structs.replace(snapshot, days=days)


def salvage(context: PassContext, before: Snapshot, damaged: Iterable[DamagedPart]) -> Salvaged:
    """Look for parts that no snapshot names, on the days of damaged parts and of those
    that are newer than the snapshot.
    """
    data = context.data
    lost = {(each.kind, each.day) for each in damaged}
    whole = without(before, damaged)
    days = dict(whole.days)
    unnamed: set[Path] = set()
    spares: dict[date, Spare] = {}
    for day in sorted(
        {day for _, day in lost} | {date.fromisoformat(path.parent.name) for path in newer_parts(data, before)}
    ):
        kept = days.get(day, Day(before.as_of))
        if kept.expired and ("counters", day) not in lost:
            continue  # its counters hold all its events: what is left of its archive adds none
        archive, counters = _readable(context, before, day)
        named = [kept.counters] if kept.counters and ("counters", day) not in lost else []
        candidates = [*named, *counters] if kept.expired or ("archive", day) in lost else []
        if candidates:
            newest = max(candidates, key=lambda part: part.generation)
            spares[day] = _spare(context, day, kept, newest)
        unnamed |= {data.part("archive", day, part.generation) for part in archive}
        days[day] = _with_archive(kept, archive)
    return Salvaged(msgspec.structs.replace(whole, days=days), frozenset(unnamed), spares)


def _readable(context: PassContext, snapshot: Snapshot, day: date) -> tuple[list[Part], list[Part]]:
    """The archive parts and the counters of a day that the snapshot does not name and
    that can be read, by generation.
    """
    data, log = context.data, context.log
    found: dict[Path, list[Part]] = {data.archive: [], data.counters: []}
    for path in unreferenced_parts(data, snapshot, day):
        part = read_part(context.database, path, parse_part(path.name) or 0)
        if part is None:
            log.warning("part_damaged", part=str(path), reason="it cannot be read", action="no snapshot names it")
        else:
            found[path.parent.parent].append(part)
    return found[data.archive], found[data.counters]


def _with_archive(kept: Day, archive: list[Part]) -> Day:
    """The day with these parts, too. One whose archive had been given up has it back:
    its counters can be made again.
    """
    if not archive:
        return kept
    return msgspec.structs.replace(kept, archive=(*kept.archive, *archive), expired=False, visitor_zone=None)


def _spare(context: PassContext, day: date, kept: Day, counters: Part) -> Spare:
    """The day as it is without an archive, or without all of it."""
    found = with_part(context, day, Day(kept.added_at), "counters", counters)
    if kept.expired:
        found = msgspec.structs.replace(
            found, archive=kept.archive, visitor_zone=found.visitor_zone and kept.visitor_zone
        )
    return Spare(found, events_counted(context.database, context.data.part("counters", day, counters.generation)))
