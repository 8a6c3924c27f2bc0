"""Whatever is done to a data directory, in whatever order: I1 to I7 hold after every
crash and at the end.

    python -m tests.faults.machine [--examples 200] [--steps 50] [--seed 1]

Hypothesis chooses what happens: posts, retries, seals, folds, retention, a full disk, a
clock that jumps, bits that flip, kill -9 and power cuts. A crash ends a life
(tests/faults/life.py); what it left is opened by the real recovery and compactor, held
against what was acknowledged, and the next life continues with it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from shared.timestamps import now_ms
from tests.faults.crash import HOWS, How
from tests.faults.life import Life, acknowledged_by
from tests.faults.oracle import id_of
from tests.faults.outcome import Outcome, file_system
from tests.faults.record import Mark, Tree
from tests.faults.reopen import Reopener

HOUR_MS = 3_600_000
MEMORY = Path("/dev/shm")  # noqa: S108

seeds = st.integers(0, 2**16)


class DataDirectoryMachine(RuleBasedStateMachine):
    """One data directory through all its lives. `outcome` counts the crashes of all of
    them.
    """

    outcome = Outcome("state machine", "", "")

    def __init__(self) -> None:
        super().__init__()
        self._place = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self._now_ms = now_ms()
        self._lives = 0
        self._ids = 0
        self._marks: list[Mark] = []
        self._excused: set[str] = set()  # ids on lines of which a bit was flipped
        self._times: dict[str, int] = {}
        self._damaged = False  # until a pass has been over it
        self._reopener = Reopener(self._place, self._now_ms)
        self._live()

    def _live(self, tree: Tree | None = None) -> None:
        self._lives += 1
        self._life = Life(self._place / f"life-{self._lives}", tree, times=self._times, log_retention_days=1)

    def _new(self, count: int) -> list[str]:
        self._ids += count
        return [f"event-{number:05d}" for number in range(self._ids - count, self._ids)]

    @rule(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def post(self, sizes: list[int]) -> None:
        stored = self._life.post([self._new(size) for size in sizes], self._now_ms)
        assert self._life.room is not None or stored == sum(sizes)

    @precondition(lambda self: self._ids)
    @rule(numbers=st.lists(seeds, min_size=1, max_size=3))
    def retry(self, numbers: list[int]) -> None:
        self._life.post([[f"event-{number % self._ids:05d}" for number in numbers]], self._now_ms)

    @precondition(lambda self: self._life.room is None)
    @rule()
    def rotate(self) -> None:
        self._life.rotate(self._now_ms, self._new(1)[0])

    @rule(max_bytes=st.sampled_from([1, 1 << 20]))
    def compact(self, max_bytes: int) -> None:
        self._life.fold(self._now_ms, max_bytes)

    @rule()
    def retain(self) -> None:
        """Segments are kept for a day: two later each one goes that every kept snapshot
        has folded.
        """
        for _ in range(2):
            self._now_ms += 25 * HOUR_MS
            self._life.fold(self._now_ms)

    @rule(hours=st.sampled_from([-30_000, -25, -1, 49, 30_000]))
    def clock(self, hours: int) -> None:
        self._life.fold(self._now_ms + hours * HOUR_MS)

    @precondition(lambda self: self._life.room is None)
    @rule(room=st.integers(0, 8))
    def fill(self, room: int) -> None:
        self._life.room = room

    @precondition(lambda self: self._life.room is not None)
    @rule()
    def free(self) -> None:
        self._life.room = None

    @rule()
    def kill(self) -> None:
        self._crash("kept", 0, 0)

    @rule(how=st.sampled_from(HOWS), seed=seeds, back=st.integers(0, 30))
    def power_cut(self, how: How, seed: int, back: int) -> None:
        self._crash(how, seed, back)

    @rule(seed=seeds)
    def flip(self, seed: int) -> None:
        """A bit of a sealed segment, of its .sha256 or of the snapshot, while no
        process is at work.
        """
        self._crash("kept", seed, 0, flips=True)

    def _crash(self, how: How, seed: int, back: int, *, flips: bool = False) -> None:
        """End this life up to `back` operations ago; what was acknowledged since then
        counts as not acknowledged.
        """
        draw = random.Random(seed)
        self._life.end()
        operations = self._life.recorder.operations
        upto = max(0, len(operations) - back)
        self._marks += [each for each in operations[:upto] if isinstance(each, Mark)]
        tree = self._life.crash(how, draw, upto)
        has_folded = any(isinstance(each, Mark) and each.what == "generation" for each in operations[:upto])
        self._damaged = flips or (self._damaged and not has_folded)
        if flips:
            self._excused |= flip_a_bit(tree, draw)
        self._hold(tree)
        shutil.rmtree(self._life.data.root)
        self._live(tree)

    def _hold(self, tree: Tree) -> None:
        intended, acknowledged, generation = acknowledged_by(self._marks)
        violations = self._reopener.check(
            tree, intended, acknowledged - self._excused, generation, damaged=self._damaged
        )
        self.outcome.add(violations, len(acknowledged), "see the example below")
        assert not violations, str(violations)

    def teardown(self) -> None:
        try:
            if not self._life.ended:  # nothing was found until now
                self._crash("lost", 0, 0)
        finally:
            self._life.end()
            shutil.rmtree(self._place)


def flip_a_bit(tree: Tree, draw: random.Random) -> set[str]:
    """Flip one bit of one file. Returns the ids that it may have cost: those of lines
    that are no longer whole.
    """
    files = [path for path in sorted(tree) if path.endswith((".sha256", ".ndjson", "snapshot.json")) and tree[path]]
    if not files:
        return set()
    path = draw.choice(files)
    content = tree[path] or b""
    before = ids(content)
    place = draw.randrange(len(content))
    tree[path] = content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
    return before - ids(tree[path] or b"") if path.startswith("log/") else set()


def ids(content: bytes) -> set[str]:
    return {id_ for line in content.splitlines(keepends=True) if (id_ := id_of(line))}


def run(examples: int, steps: int, first: int) -> int:
    """Let Hypothesis look for `examples` stories of up to `steps` steps; the smallest
    one that fails is printed.
    """
    DataDirectoryMachine.outcome = outcome = Outcome(
        "state machine",
        f"python -m tests.faults.machine --examples {examples} --steps {steps} --seed {first}",
        file_system(MEMORY),
        seeds=str(first),
        points=examples,
    )
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    started = time.monotonic()
    try:
        run_state_machine_as_test(seed(first)(DataDirectoryMachine), settings=chosen)
    finally:
        outcome.seconds = time.monotonic() - started
        code = outcome.say()
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description="A state machine against a data directory.")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return run(given.examples, given.steps, given.seed)


if __name__ == "__main__":
    sys.exit(main())
