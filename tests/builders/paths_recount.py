"""Paths counted in plain Python: each visit as a list of stays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from ingest.collect.encode import Line

GAP = timedelta(minutes=30)
# Position, the first step where the value is the second, value; and moves and visitors.
Side = tuple[int, str | None, str | None]
Sides = dict[Side, tuple[int, int]]


def visits(events: Iterable[Line]) -> list[list[Line]]:
    """Of events that have a value: no gap of half an hour, unless in one session."""
    people: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for event in events:
        people[event.site, event.visitor, event.ua, event.session].append(event)
    found: list[list[Line]] = []
    for of in people.values():
        placed = sorted(of, key=lambda event: (event.time, event.received, event.id, event.sender or ""))
        for number, event in enumerate(placed):
            is_gap = number and _at(event) - _at(placed[number - 1]) >= GAP
            if not number or (is_gap and event.session is None):
                found.append([])
            found[-1].append(event)
    return found


def _at(event: Line) -> datetime:
    return datetime.fromisoformat(event.time)


def paths(events: Iterable[Line], at: str, value: Callable[[Line], str | None]) -> tuple[Sides, tuple[int, int]]:
    """Moves and visitors of each side, and stays and visitors of all."""
    moves: Counter[Side] = Counter()
    people: dict[Side, set[str | None]] = defaultdict(set)
    kept = [event for event in events if event.visitor is not None and value(event) is not None]
    for visit in visits(kept):
        stays = [shown for shown, _ in groupby(map(value, visit))]
        padded = [None, None, *stays, None, None]
        for place, shown in enumerate(padded):
            if shown != at:
                continue
            sides: list[Side] = [(0, None, None), (1, None, padded[place + 1]), (-1, None, padded[place - 1])]
            sides += [(2 * way, padded[place + way], padded[place + 2 * way]) for way in (1, -1) if padded[place + way]]
            for side in sides:
                moves[side] += 1
                people[side].add(visit[0].visitor)
    found = {side: (count, len(people[side])) for side, count in moves.items()}
    return found, found.pop((0, None, None), (0, 0))


def as_sides(rows: Iterable[Mapping[str, Any]]) -> Sides:
    """An answer in the same form, without those together."""
    return {
        (row["position"], row.get("via"), row["value"]): (row["moves"], row["visitors"])
        for row in rows
        if not row.get("others")
    }
