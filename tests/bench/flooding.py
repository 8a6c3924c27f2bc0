"""The floods of tests/builders/floods.py beside their honest controls, as many events
or bytes in as many passes: what they cost, and what the compactor needs at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from tests.bench import fold
from tests.bench.checkout import Checkout, Costs, resident_mib
from tests.bench.compacting import NEVER, compacting, totals
from tests.bench.figures import Figure
from tests.builders import floods
from tests.builders.logs import NOON, sealed

MINUTES = 10
COMBINATIONS = 600 * 450  # events of a minute: of nine addresses, each at its limit
TEXTS = 60_000
FAT = 1_200
PASS_S = 600.0
WANTED_RATIO = 2.0
WANTED_MIB = Settings.fold_memory / (1 << 20) + 150

Minute = Callable[[int, int], list[Line]]  # of its noon and its number


class _Measured(NamedTuple):
    """One flood for as many minutes, or its control."""

    name: str
    minutes: int
    made: Minute


def _floods() -> Iterator[tuple[_Measured, _Measured]]:
    """Each flood, and its control."""
    yield (
        _Measured(
            "combinations of values", MINUTES, lambda noon, n: floods.combinations(COMBINATIONS, noon=noon, seed=n)
        ),
        _Measured("as many of every day", MINUTES, lambda noon, n: floods.everyday(COMBINATIONS, noon=noon, seed=n)),
    )
    yield (
        _Measured("paths of one hash value", 1, lambda _noon, _n: floods.colliding_texts("path", TEXTS).attack),
        _Measured("as many random paths", 1, lambda _noon, _n: floods.colliding_texts("path", TEXTS).control),
    )
    yield (
        _Measured("events of 30 KB", MINUTES, lambda noon, n: floods.fat(FAT, noon=noon, seed=n).attack),
        _Measured(
            "as many bytes in events of 500", MINUTES, lambda noon, n: floods.fat(FAT, noon=noon, seed=n).control
        ),
    )


def costs(checkout: Checkout, root: Path) -> Costs:
    found = {}
    for number, both in enumerate(_floods()):
        for flood in both:
            place = root / f"{number}-{flood.name.replace(' ', '-')}"
            place.mkdir()
            seconds, most = _measure(checkout, fold.fresh(place / "data"), flood)
            found[f"{flood.name}: CPU s"] = seconds
            found[f"{flood.name}: memory of the compactor at most, MiB"] = most
    return found


def _measure(checkout: Checkout, data: DataDirectory, flood: _Measured) -> tuple[float, float]:
    """CPU seconds, NEVER where a pass does not end, and MiB at most."""
    version, seconds, events = checkout.line_version(), 0.0, 0
    with compacting(checkout, data) as compactor:
        for minute in range(flood.minutes):
            lines = flood.made(NOON + minute * 60_000, minute)
            for each in lines:
                each.v = version
            for first in range(0, len(lines), fold.SEGMENT_EVENTS):
                sealed(data, lines[first : first + fold.SEGMENT_EVENTS])
            events += len(lines)
            seconds += compactor.fold(events, PASS_S)
            if seconds == NEVER:
                return NEVER, resident_mib([compactor.pid], "VmHWM:")
        if totals(data)["counted"] != events:
            raise AssertionError(f"{events} events were written, {totals(data)['counted']} are counted")
        return seconds, resident_mib([compactor.pid], "VmHWM:")


def figures(found: Costs) -> list[Figure]:
    """Each flood / its control, and their peaks."""
    made, names = [], list(found)
    for attack, most, control, most_of_control in zip(*(names[start::4] for start in range(4)), strict=True):
        flood, honest = (name.partition(":")[0] for name in (attack, control))
        ratio = found[attack] / found[control]
        what = f"fold of {flood} / of {honest}"
        made += [
            Figure(what, ratio, "{:.2f}", WANTED_RATIO, less_is_better=True, is_ratio=True),
            Figure(most, found[most], "{:,.0f} MiB", WANTED_MIB, less_is_better=True),
            Figure(most_of_control, found[most_of_control], "{:,.0f} MiB", less_is_better=True),
        ]
    return made
