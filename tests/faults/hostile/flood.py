"""Attacks that are many requests: sent from one address while neighbours live beside
them, then folded, then asked about.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tests.bench.processes import ADMIN_TOKEN
from tests.faults.hostile.attacker import Request, Sent, send
from tests.faults.hostile.cost import BOUNDS, Attack, Bounds, Cost, Scene
from tests.faults.hostile.ground import Ground, Sampler, ground
from tests.faults.hostile.neighbours import Felt, Neighbours

QUIET_S, QUIET_QUICK_S = 3.0, 1.5
DURING_S = 2.0  # at least, so that there is a p95
REPORT_S = 90.0

Made = Callable[[int], Sequence[Request]]  # of how many requests


class Flood(NamedTuple):
    """`attack` and `control` make as many requests of equal size. They are sent in
    `passes` parts, with a pass after each; `questions` are reports, or paths, that
    follow.
    """

    attack: Made
    control: Made
    requests: int
    quick: int
    passes: int = 1
    questions: tuple[str, ...] = ()
    settings: Mapping[str, str] = {}

    def run(self, scene: Scene) -> tuple[Cost, Cost]:
        count = self.quick if scene.quick else self.requests
        return self._run(scene, "attack", self.attack(count)), self._run(scene, "control", self.control(count))

    def _run(self, scene: Scene, kind: str, made: Sequence[Request]) -> Cost:
        cost = Cost()
        with ground(scene.checkout, scene.root / kind, self.settings) as place:
            cost.check(place.fold(), "the first pass did not end")
            with beside(place, cost, scene.quick):
                sent = self._send(place, made, cost)
            record(cost, sent)
            brought = sum(len(each.plain) + each.head_bytes(place.port) for each in made)
            cost.brought_bytes = brought * cost.taken // max(len(made), 1)  # requests of a flood are equally large
        return cost

    def _send(self, place: Ground, made: Sequence[Request], cost: Cost) -> Sent:
        sent, compactor = Sent(0, 0, Counter(), 0.0), 0.0
        size = -(-len(made) // self.passes)
        for start in range(0, len(made), size):
            more = send(place.port, made[start : start + size])
            sent = Sent(*(one + two for one, two in zip(sent, more, strict=True)))  # type: ignore[operator]
            before = place.compactor_cpu_s()
            if self.passes > 1 or start + size >= len(made):
                cost.check(place.fold(), "a pass did not end")
            compactor += place.compactor_cpu_s() - before
        cost.pass_cpu_s = compactor
        for question in self.questions:
            path = question if question.startswith("/") else f"/admin/api/report?{question}"
            status, _ = place.ask(path, timeout_s=REPORT_S)
            cost.check(status == 200, f"a report was answered with {status}")
        return sent


@contextmanager
def beside(place: Ground, cost: Cost, quick: bool) -> Iterator[None]:
    """The block is the attack: neighbours live before and beside it, and what it costs
    is recorded.
    """
    neighbours = Neighbours(place.port)
    try:
        time.sleep(QUIET_QUICK_S if quick else QUIET_S)
        before = (place.cpu_seconds(), place.resident_mib(), len(place.processes()), place.log_bytes())
        with Sampler(place) as most:
            neighbours.begin()
            begun = time.monotonic()
            yield
            time.sleep(max(begun + DURING_S - time.monotonic(), 0))
            felt = neighbours.end()
        cost.product_cpu_s = place.cpu_seconds() - before[0]
        cost.memory_mib = most.most_mib - before[1]
        cost.processes = len(place.processes()) - before[2]
        cost.log_bytes = place.log_bytes() - before[3]
    finally:
        neighbours.kill()
    _record(place, cost, felt)


def _record(place: Ground, cost: Cost, felt: Felt) -> None:
    """What the neighbours felt; their events in the log, and what the snapshot says of
    all.
    """
    cost.quiet_ms, cost.during_ms = felt.quiet_ms, felt.during_ms
    others = {status: count for status, count in felt.statuses.items() if status != "200"}
    cost.check(not others, f"neighbours were answered with {others}")
    cost.check(place.fold(), "the last pass did not end")
    lines = place.lines()
    cost.lost += len(felt.acknowledged - {line["id"] for line in lines})
    totals = place.totals()
    cost.check(totals["lines"] == len(lines), f"{len(lines)} lines are in the log, {totals['lines']} are folded")
    cost.check(not totals.get("quarantined"), "lines were quarantined")
    cost.check(place.ask("/readyz")[0] == 200, "not ready afterwards")


def record(cost: Cost, sent: Sent) -> None:
    """What the attacker paid, and how it was answered."""
    cost.requests, cost.bytes, cost.attacker_cpu_s = sent.requests, sent.bytes, sent.cpu_s
    cost.taken = sent.statuses["200"]
    cost.answers = ", ".join(f"{count:,} of {status}" for status, count in sorted(sent.statuses.items()))
    cost.check(not sent.statuses["500"], f"{sent.statuses['500']} requests were answered with 500")


def flood(name: str, sends: str, control: str, what: Flood, bounds: Bounds = BOUNDS) -> Attack:
    return Attack(name, sends, control, what.run, bounds)


def asking(paths: Sequence[str]) -> list[Request]:
    """Questions with the admin token."""
    return [Request(b"", (f"Authorization: Bearer {ADMIN_TOKEN}",), ask=path) for path in paths]
