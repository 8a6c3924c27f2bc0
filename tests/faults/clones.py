"""Crash clones: after every operation of a life, what a crash could have left is opened
again, and the next life begins.

    python -m tests.faults.clones [--clones 100000] [--seed 1] [--lies]

A seed is a story: events are posted, sent again, sealed, folded, deleted by retention,
on a disk that fills up and with a clock that jumps, until a crash ends the life. Each
life begins with what the crash before left, so recovery is recorded, and crashes, as
well. `--lies` is the control: on a disk that reports syncs that it does not do, losses
must be found.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from shared.timestamps import now_ms
from tests.faults.crash import HOWS, Disk, How
from tests.faults.life import Life, acknowledged_by
from tests.faults.oracle import Violations
from tests.faults.outcome import Outcome, file_system
from tests.faults.record import Mark, Tree
from tests.faults.reopen import Reopener

LIVES = 3
DEEDS = 14
CLONES_EACH = 4  # clones after each operation, of each kind that chance has a part in
FOUND_MAX = 10  # a story with one failure has many
HOUR_MS = 3_600_000
MEMORY = Path("/dev/shm")  # noqa: S108  a directory in memory: thousands of small ones are made and read


@dataclass
class StoryResult:
    """What one story came to."""

    seed: int
    clones: int = 0
    directories: int = 0
    folded: int = 0
    acknowledged: int = 0
    found: list[tuple[str, Violations]] = field(default_factory=list)


class Story:
    """Lives one after the other, by one seed."""

    def __init__(self, place: Path, seed: int, each: int, *, lies: bool = False) -> None:
        self._place = place
        self._draw = random.Random(seed)
        self._each = each
        self._lies = lies
        self._now_ms = now_ms()
        self._ids = 0
        self._marks: list[Mark] = []
        self._reopener = Reopener(place, self._now_ms + 20 * HOUR_MS)
        self._seen: set[bytes] = set()
        self.tried = StoryResult(seed)

    def run(self, limit: int) -> StoryResult:
        """About `limit` clones, spread over all lives, or all there are."""
        tree: Tree | None = None
        lives = 1 if self._lies else LIVES  # what a disk that lies leaves may be no beginning for another life
        for number in range(lives):
            life = Life(self._place / f"life-{number}", tree, lies=self._lies, log_retention_days=1)
            try:
                for _ in range(DEEDS):
                    self._do_something(life)
            finally:
                life.end()
            tree = self._clone(life, number, limit // lives)
            shutil.rmtree(life.data.root)
        self.tried.folded = self._reopener.different
        self.tried.directories = len(self._seen)
        self.tried.acknowledged = len(acknowledged_by(self._marks)[1])
        return self.tried

    def _new(self) -> list[str]:
        self._ids += 1
        return [f"event-{self._ids:05d}-{part}" for part in range(self._draw.randint(1, 3))]

    def _do_something(self, life: Life) -> None:
        draw = self._draw
        deed = draw.choices(
            ("post", "again", "rotate", "fold", "fold one", "restart", "fill", "free", "later", "jump"),
            (8, 3, 3, 4, 2, 1, 1, 1, 2, 1),
        )[0]
        if deed == "post":
            life.post([self._new() for _ in range(draw.randint(1, 3))], self._now_ms)
        elif deed == "again" and life.intended:
            life.post([draw.sample(sorted(life.intended), min(2, len(life.intended)))], self._now_ms)
        elif deed == "rotate" and life.room is None:
            life.rotate(self._now_ms, self._new()[0])
        elif deed in {"fold", "fold one"}:
            life.fold(self._now_ms, 1 if deed == "fold one" else 1 << 20)
        elif deed == "restart":
            life.restart()
        elif deed in {"fill", "free"}:
            life.room = draw.randint(0, 6) if deed == "fill" else None
        elif deed == "later":
            self._now_ms += draw.randint(1, 30) * HOUR_MS
        elif deed == "jump":
            life.fold(self._now_ms + draw.choice((-1, -500, 80, 20_000)) * HOUR_MS)

    def _clone(self, life: Life, number: int, limit: int) -> Tree:
        """Open again what crashes during a life could have left. Returns what one of
        them left, for the next life.
        """
        disk = Disk(life.recorder.began_with)
        last = self._draw.randrange(len(life.recorder.operations) // 2, len(life.recorder.operations))
        operations = life.recorder.operations[: last + 1]
        share = limit / (len(operations) * sum(map(self._times, HOWS)))
        for place, operation in enumerate(operations):
            disk.follow(operation)
            if isinstance(operation, Mark):
                self._marks.append(operation)
            for how, tree in self._crashes(disk, share):
                self._check(tree, f"seed {self.tried.seed}, life {number}, operation {place}, {how}")
        return disk.crash(self._draw.choice(HOWS), self._draw)

    def _crashes(self, disk: Disk, share: float) -> Iterator[tuple[str, Tree]]:
        for how in HOWS:
            for _ in range(self._times(how)):
                if self._draw.random() < share and len(self.tried.found) < FOUND_MAX:
                    yield how, disk.crash(how, self._draw)

    def _times(self, how: How) -> int:
        return self._each if how not in {"kept", "lost"} else 1

    def _check(self, tree: Tree, where: str) -> None:
        intended, acknowledged, generation = acknowledged_by(self._marks)
        self.tried.clones += 1
        key = hashlib.sha256(
            repr((sorted(tree.items()), len(intended), len(acknowledged), generation)).encode()
        ).digest()
        if key in self._seen:  # the same directory, and the same promises
            return
        self._seen.add(key)
        violations = self._reopener.check(tree, intended, acknowledged, generation)
        if violations:
            self.tried.found.append((where, violations))


def run_story(seed: int, limit: int, lies: bool, each: int = CLONES_EACH) -> StoryResult:
    """One story in a directory of its own: `each` clones of each kind after each
    operation, but at most `limit`.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="foldlog-clones-") as place:
        return Story(Path(place), seed, each, lies=lies).run(limit)


def main() -> int:
    parser = argparse.ArgumentParser(description="Open again what crashes could have left.")
    parser.add_argument("--clones", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="the first seed; as many follow as it takes")
    parser.add_argument("--lies", action="store_true", help="the control: a disk that lies about its syncs")
    given = parser.parse_args()
    started = time.monotonic()
    command = f"python -m tests.faults.clones --clones {given.clones} --seed {given.seed}" + " --lies" * given.lies
    outcome = Outcome("crash clones", command, file_system(MEMORY))
    seed, directories, folded = given.seed, 0, 0
    with ProcessPoolExecutor(2, max_tasks_per_child=1) as pool:
        while outcome.runs < given.clones:
            left = given.clones - outcome.runs
            for tried in pool.map(run_story, (seed, seed + 1), (left // 2 + left % 2, left // 2), (given.lies,) * 2):
                _add(outcome, tried)
                directories += tried.directories
                folded += tried.folded
            seed += 2
            print(f"\r{outcome.runs:,} clones, {len(outcome.failures)} failures", end="", file=sys.stderr, flush=True)
    outcome.points = directories
    outcome.seeds = f"{given.seed} to {seed - 1}"
    outcome.seconds = time.monotonic() - started
    print(
        f"\n{directories:,} different directories were opened, {folded:,} of them differed after recovery and were "
        f"folded"
    )
    return outcome.say()


def _add(outcome: Outcome, tried: StoryResult) -> None:
    outcome.runs += tried.clones
    outcome.acknowledged += tried.acknowledged
    for where, violations in tried.found:
        outcome.lost += len(violations.lost)
        outcome.double += len(violations.double)
        outcome.phantom += len(violations.phantom)
        outcome.failures.append(f"{where}: {violations}")


if __name__ == "__main__":
    sys.exit(main())
