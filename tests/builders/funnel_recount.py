"""A funnel counted by trying every chain of events: what the definition says, and
nothing cleverer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise, product
from typing import Any, NamedTuple

from ingest.collect.encode import Line

Matches = Callable[[Line], bool]


class Reached(NamedTuple):
    """The first time that a visitor reached a step, in milliseconds from the step
    before and from the first.
    """

    since_ms: int
    total_ms: int


def order(event: Line) -> tuple[str, ...]:
    """By time, then which was received first, then the texts that tell them apart."""
    return event.time, event.received, event.id, event.sender or "", event.site


def reached_by(events: Iterable[Line], steps: Sequence[Matches], window: timedelta) -> list[Reached]:
    """Of the events of one visitor: for each step that was reached, of the first event
    that ends a chain the last event before it, and the latest beginning.
    """
    placed = sorted(events, key=order)
    found: list[Reached] = []
    for count in range(1, len(steps) + 1):
        chains = [chain for chain in _chains(placed, steps[:count]) if _length(placed, chain) <= window]
        if not chains:
            break
        end = min(chain[-1] for chain in chains)
        ending = [chain for chain in chains if chain[-1] == end]
        before = max(chain[-2] for chain in ending) if count > 1 else end
        begun = max(chain[0] for chain in ending)
        found.append(Reached(_ms(placed, before, end), _ms(placed, begun, end)))
    return found


def _chains(placed: Sequence[Line], steps: Sequence[Matches]) -> Iterable[tuple[int, ...]]:
    matching = [[place for place, event in enumerate(placed) if step(event)] for step in steps]
    return (chain for chain in product(*matching) if all(a < b for a, b in pairwise(chain)))


def _length(placed: Sequence[Line], chain: tuple[int, ...]) -> timedelta:
    return timedelta(milliseconds=_ms(placed, chain[0], chain[-1]))


def _ms(placed: Sequence[Line], first: int, last: int) -> int:
    began, ended = (datetime.fromisoformat(placed[place].time) for place in (first, last))
    return (ended - began) // timedelta(milliseconds=1)


class Counted(NamedTuple):
    """By step; the medians are None for the first step, and for none."""

    visitors: list[int]
    medians: list[tuple[float | None, float | None]]


def funnel(events: Iterable[Line], steps: Sequence[Matches], window: timedelta) -> Counted:
    return _counted([reached_by(of, steps, window) for of in by_visitor(events).values()], len(steps))


def funnel_by(
    events: Iterable[Line], steps: Sequence[Matches], window: timedelta, value: Callable[[Line], str | None]
) -> Mapping[str | None, Counted]:
    """Each visitor under the value of the first event of the first step."""
    rows: dict[str | None, list[list[Reached]]] = defaultdict(list)
    for of in by_visitor(events).values():
        if first := min(filter(steps[0], of), key=order, default=None):
            rows[value(first)].append(reached_by(of, steps, window))
    return {shown: _counted(found, len(steps)) for shown, found in rows.items()}


def by_visitor(events: Iterable[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    for event in events:
        if event.visitor is not None:
            found[event.visitor].append(event)
    return found


def _counted(visitors: Sequence[Sequence[Reached]], steps: int) -> Counted:
    of_steps = [[found[step] for found in visitors if len(found) > step] for step in range(steps)]
    medians = [
        (_median([each.since_ms for each in found]), _median([each.total_ms for each in found]))
        if step
        else (None, None)
        for step, found in enumerate(of_steps)
    ]
    return Counted([len(found) for found in of_steps], medians)


def _median(ms: list[int]) -> float | None:
    """In seconds; of an even number the middle between the two in the middle."""
    if not ms:
        return None
    ordered = sorted(ms)
    middle = Fraction(ordered[(len(ms) - 1) // 2] + ordered[len(ms) // 2], 2)
    return float(middle / 1000)


def as_counted(rows: Iterable[Mapping[str, Any]]) -> Counted:
    """An answer in the same form."""
    found = list(rows)
    return Counted([row["visitors"] for row in found], [(row["median_s"], row["median_from_first_s"]) for row in found])


def funnel_of_visits(
    visits: Iterable[Sequence[Line]],
    steps: Sequence[Matches],
    value: Callable[[Line], str | None] = lambda _: None,
) -> Mapping[str | None, Counted]:
    """`visits`: their events that are asked for. Each visitor counts for a step if one
    of the visits does; the one that reaches it first says how long it took.
    """
    whole = timedelta(days=2)
    found: dict[str | None, list[list[tuple[tuple[str, ...], Reached]]]] = defaultdict(list)
    first: dict[str | None, Line] = {}
    for visit in visits:
        if begins := [event for event in visit if steps[0](event)]:
            visitor = begins[0].visitor
            first[visitor] = min([*begins, *([first[visitor]] if visitor in first else [])], key=order)
            reached = reached_by(visit, steps, whole)
            found[visitor].append(list(zip(_ends(visit, steps[: len(reached)]), reached, strict=True)))
    rows: dict[str | None, list[list[Reached]]] = defaultdict(list)
    for visitor, of_visits in found.items():
        of_steps = ([each[step] for each in of_visits if len(each) > step] for step in range(len(steps)))
        # A visit that reached a step reached those before it.
        best = [min(each, key=lambda one: one[0])[1] for each in of_steps if each]
        rows[value(first[visitor])].append(best)
    return {shown: _counted(each, len(steps)) for shown, each in rows.items()}


def _ends(visit: Sequence[Line], steps: Sequence[Matches]) -> Iterable[tuple[str, ...]]:
    """The first event with which each of these steps is reached."""
    left = sorted(visit, key=order)
    for step in steps:
        at = next(place for place, event in enumerate(left) if step(event))
        yield order(left[at])
        left = left[at + 1 :]
