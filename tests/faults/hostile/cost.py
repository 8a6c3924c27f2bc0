"""What one attack or its control cost, and whether the attack was held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.bench.checkout import Checkout

SLACK_CPU_S = 0.6  # what an idle server and ticks of 10 ms are good for
SLACK_MS, SLACK_QUICK_MS = 50.0, 200.0  # what a busy machine is good for; few requests make a rough p95


@dataclass
class Cost:
    """Of one run. What was not measured stays None."""

    requests: int = 0
    bytes: int = 0
    attacker_cpu_s: float = 0.0
    answers: str = ""
    taken: int = 0  # requests that were answered with 200
    product_cpu_s: float | None = None
    log_bytes: int | None = None
    brought_bytes: int = 0  # bodies as inflated, and heads, of the requests that were taken
    memory_mib: float | None = None  # above what it was before
    processes: int | None = None  # more than before, once all is over
    pass_cpu_s: float | None = None
    quiet_ms: float | None = None
    during_ms: float | None = None
    lost: int = 0
    broken: list[str] = field(default_factory=list)  # what must never be, in a control neither
    said: str = ""

    def check(self, is_right: bool, what: str) -> None:
        if not is_right:
            self.broken.append(what)


class Scene(NamedTuple):
    """Where one run takes place: a source tree, a directory that is still to be made,
    and whether it is a small one.
    """

    checkout: Checkout
    root: Path
    quick: bool


class Bounds(NamedTuple):
    """How much an attack may cost against its control, and `more`, which returns what
    else is wrong with both.
    """

    cpu_ratio: float = 3.0
    p95_ratio: float = 3.0
    more: Callable[[Cost, Cost], list[str]] = lambda _attack, _control: []


BOUNDS = Bounds()


class Attack(NamedTuple):
    """One row of the table. `run` makes the attack and its control."""

    name: str
    sends: str
    control: str
    run: Callable[[Scene], tuple[Cost, Cost]]
    bounds: Bounds = BOUNDS


def wrong_with(attack: Cost, control: Cost, bounds: Bounds, slack_ms: float = SLACK_MS) -> list[str]:
    """Why an attack was not held; nothing if it was."""
    found = [*attack.broken, *(f"control: {what}" for what in control.broken)]
    found += [f"{cost.lost} events of neighbours were lost" for cost in (attack, control) if cost.lost]
    for what, one, two in (
        ("CPU", attack.product_cpu_s, control.product_cpu_s),
        ("CPU of the pass", attack.pass_cpu_s, control.pass_cpu_s),
    ):
        if one is not None and two is not None and one > bounds.cpu_ratio * two + SLACK_CPU_S:
            found.append(f"{what}: {one / max(two, 0.01):.1f} times that of the control")
    if attack.quiet_ms is not None and attack.during_ms is not None and control.during_ms is not None:
        worst_allowed = bounds.p95_ratio * max(attack.quiet_ms, control.quiet_ms or 0, control.during_ms) + slack_ms
        if attack.during_ms > worst_allowed:
            found.append(f"p95 of neighbours: {attack.during_ms:.0f} ms")
    return found + bounds.more(attack, control)
