"""Attacks that ask whether something is possible at all: a few requests or commands in
one server, and beside each what an honest client gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.faults.hostile.cost import BOUNDS, Attack, Bounds, Cost, Scene
from tests.faults.hostile.ground import Ground, ground

# Does both; what must hold is checked in the first cost for the attack, in the second
# for the control.
Act = Callable[[Ground, Cost, Cost, Scene], None]


class Trial(NamedTuple):
    act: Act
    settings: Mapping[str, str]

    def run(self, scene: Scene) -> tuple[Cost, Cost]:
        cost, control = Cost(), Cost()
        with ground(scene.checkout, scene.root / "server", self.settings) as place:
            self.act(place, cost, control, scene)
            cost.check(place.ask("/readyz")[0] == 200, "not ready afterwards")
        return cost, control


def trial(
    name: str, sends: str, control: str, act: Act, settings: Mapping[str, str] | None = None, bounds: Bounds = BOUNDS
) -> Attack:
    return Attack(name, sends, control, Trial(act, settings or {}).run, bounds)
