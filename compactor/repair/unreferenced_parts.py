"""Parts that a rebuild may use where referenced parts are damaged or missing: parts on
disk that no snapshot references.

In a copy of a running directory the parts of a day may be there in an earlier or later
form than the snapshot references. For days that lack something, or that have parts of a
later generation, every readable part is used; an event in several of them counts once.
No sha256 protects an unreferenced part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from compactor.context import PassContext
from compactor.generations.counter_parts import total_events
from compactor.repair.directory_check import parts_beyond
from compactor.repair.reconstruct_snapshot import read_part, with_counters
from shared.disk.layout import DataDirectory, parse_part
from shared.generations.part_integrity import PartError, part_error
from shared.generations.part_presence import referenced_parts, unreferenced_parts
from shared.generations.snapshot import Day, Part, Snapshot
from shared.log import Log


class DamagedPart(NamedTuple):
    """A referenced part whose file is missing or differs from its sha256."""

    kind: str
    day: date
    part: Part
    error: PartError


class FallbackCounters(NamedTuple):
    """Counters that can replace a day whose archive is gone. `day` is the day with
    them; `events` is how many events they count.
    """

    day: Day
    events: int

    @property
    def has_visitors(self) -> bool:
        """Whether they include visitors, which are counted before an archive
        expires.
        """
        return self.day.visitor_zone is not None


class AcceptedParts(NamedTuple):
    """What a rebuild starts from.

    `snapshot` references the intact parts and the accepted unreferenced ones;
    `unreferenced` are the paths of the latter; `fallbacks` are counters by day.
    """

    snapshot: Snapshot
    unreferenced: frozenset[Path]
    fallbacks: dict[date, FallbackCounters]

    @property
    def unreferenced_days(self) -> set[date]:
        return {date.fromisoformat(path.parent.name) for path in self.unreferenced}

    @property
    def unreferenced_generations(self) -> set[int]:
        return {parse_part(path.name) or 0 for path in self.unreferenced}


def find_damaged_parts(data: DataDirectory, snapshot: Snapshot, log: Log) -> list[DamagedPart]:
    """Read every referenced part. Logs a warning for each damaged one."""
    damaged = []
    for each in referenced_parts(snapshot):
        path = each.path(data)
        if error := part_error(path, each.part):
            damaged.append(DamagedPart(*each, error))
            action = "none: the rebuild writes it again"
            if snapshot.days[each.day].expired:
                action = (
                    "restore it from a backup, unless other counters of the day are on disk: no other file has its data"
                )
            log.warning("part_damaged", part=str(path), reason=str(error), action=action)
    return damaged


def without_damaged(snapshot: Snapshot, damaged: Iterable[DamagedPart]) -> Snapshot:
    """The snapshot without its damaged parts of events: those that it counts, and those
    that other hosts count; and without visits of a day of which a part is damaged.
    """
    broken = {(each.kind, each.day, each.part) for each in damaged}

    def intact(kind: str, day: date, parts: Iterable[Part]) -> tuple[Part, ...]:
        return tuple(part for part in parts if (kind, day, part) not in broken)

    days = {
        day: msgspec.structs.replace(
            kept, archive=intact("archive", day, kept.archive), yielded=intact("yielded", day, kept.yielded)
        )
        for day, kept in snapshot.days.items()
    }
    for day in {day for kind, day, _ in broken if kind in {"sessions", "visits"}}:
        days[day] = msgspec.structs.replace(days[day], sessions=(), visits=(), visits_of=None)
    return msgspec.structs.replace(snapshot, days=days)


def collect_unreferenced_parts(context: PassContext, before: Snapshot, damaged: Iterable[DamagedPart]) -> AcceptedParts:
    """Accept unreferenced parts on the days of damaged parts, and on days with parts
    newer than the snapshot.
    """
    lost = {(each.kind, each.day) for each in damaged}
    intact = without_damaged(before, damaged)
    days = dict(intact.days)
    unreferenced: set[Path] = set()
    fallbacks: dict[date, FallbackCounters] = {}
    newer = {date.fromisoformat(path.parent.name) for path in parts_beyond(context.data, before.generation)}
    for day in sorted({day for _, day in lost} | newer):
        kept = days.get(day, Day(before.as_of))
        if kept.expired and ("counters", day) not in lost:
            continue  # its counters have all its events; leftovers of its archive add none
        archive, counters = _readable_parts(context, before, day)
        if kept.counters and ("counters", day) not in lost:
            counters = [*kept.counters, *counters]
        if counters and (kept.expired or ("archive", day) in lost):
            fallbacks[day] = _fallback(context, day, kept, counters)
        unreferenced |= {context.data.part("archive", day, part.generation) for part in archive}
        days[day] = _with_archive(kept, archive)
    return AcceptedParts(msgspec.structs.replace(intact, days=days), frozenset(unreferenced), fallbacks)


def _readable_parts(context: PassContext, snapshot: Snapshot, day: date) -> tuple[list[Part], list[Part]]:
    """The readable unreferenced archive parts and counters of a day, by generation."""
    data = context.data
    found: dict[Path, list[Part]] = {data.archive: [], data.counters: []}
    for path in unreferenced_parts(data, snapshot, day):
        if path.parent.parent not in found:
            continue  # an index of ids follows from its archive part
        part = read_part(context.database, path, parse_part(path.name) or 0)
        if part is None:
            action = "none: no snapshot references it"
            context.log.warning("part_damaged", part=str(path), reason="it cannot be read", action=action)
        else:
            found[path.parent.parent].append(part)
    return found[data.archive], found[data.counters]


def _with_archive(kept: Day, archive: list[Part]) -> Day:
    """The day with these archive parts added. An expired day has an archive again, so
    its counters can be recounted.
    """
    if not archive:
        return kept
    return msgspec.structs.replace(kept, archive=(*kept.archive, *archive), expired=False, visitor_zone=None)


def _fallback(context: PassContext, day: date, kept: Day, counters: Sequence[Part]) -> FallbackCounters:
    found = with_counters(context, day, Day(kept.added_at), counters)
    if kept.expired:
        zone = found.visitor_zone and kept.visitor_zone
        found = msgspec.structs.replace(found, archive=kept.archive, visitor_zone=zone)
    paths = [(part, context.data.part("counters", day, part.generation)) for part in found.counters]
    events = total_events(context.database, paths)
    return FallbackCounters(found, events)
