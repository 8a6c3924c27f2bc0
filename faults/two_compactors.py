"""`python -m faults.two_compactors`: two compactors at once, and their lock file deleted between them.

Each race: a process folds, at a moment that the seed chooses somebody deletes compact.lock, and a second process folds the
same directory. Whatever became of the two, every event is counted at most once then, every part is the one that the
snapshot names, and the next pass counts all of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from compactor.commit import CommitLost, CompactorBusy
from compactor.schedule import compact_once
from faults.damaged_files import Heard, settings_of, write_segment
from faults.oracle import judge
from faults.outcome import Outcome, file_system
from shared.layout import DataDirectory
from shared.publish import make_data_directory
from shared.snapshot import load

MEMORY = Path("/dev/shm")  # noqa: S108
SPAN_S = 0.4
RACE_TIMEOUT_S = 120.0
FORK = multiprocessing.get_context("fork")  # this process opens no database itself, so it has no threads that a fork would lose
PUBLISHED, LOST, BUSY = 0, 10, 11


def compact(root: str) -> None:
    """One compactor. It ends with what became of it."""
    data = DataDirectory(Path(root))
    try:
        compact_once(data, settings_of(data), Heard())
    except CommitLost:
        sys.exit(LOST)
    except CompactorBusy:
        sys.exit(BUSY)
    sys.exit(PUBLISHED)


def race(data: DataDirectory, pick: random.Random) -> list[int | None]:
    """Two compactors and somebody who deletes their lock. Returns the exit codes."""
    processes = [FORK.Process(target=compact, args=(str(data.root),)) for _ in range(2)]
    processes[0].start()
    deadline = time.monotonic() + RACE_TIMEOUT_S
    while not data.spill.exists() and processes[0].is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(pick.uniform(0, SPAN_S))
    data.compact_lock.unlink(missing_ok=True)
    processes[1].start()
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def prepare(root: str) -> None:
    """A directory with a pass behind it and a segment before it."""
    data = DataDirectory(Path(root))
    make_data_directory(data)
    write_segment(data, ["event-1", "event-2"])
    compact_once(data, settings_of(data), Heard())
    write_segment(data, ["event-3", "event-4", "event-1"])


def one_race(template: Path, root: Path, seed: int, outcome: Outcome) -> str:
    """A race and what came of it: how the two ended, in words."""
    data = DataDirectory(Path(shutil.copytree(template, root / "race")))
    codes = race(data, random.Random(seed))
    ids = {f"event-{number}" for number in range(1, 5)}
    generation = load(data).generation
    outcome.add(judge(data.root, ids, ids), len(ids), f"seed {seed}, right after the race ({codes})")
    in_a_child(compact, str(data.root))
    verdict = judge(data.root, ids, ids, folded=True, generation=generation)
    outcome.add(verdict, len(ids), f"seed {seed}, after another pass ({codes})")
    shutil.rmtree(data.root)
    names = {PUBLISHED: "published", LOST: "lost its right", BUSY: "found the other at work"}
    return " and ".join(sorted(names.get(code if code is not None else -1, "failed") for code in codes))


def in_a_child(function: Callable[[str], None], root: str) -> None:
    process = FORK.Process(target=function, args=(root,))
    process.start()
    process.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=1000, help="how many (default: 1,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first race; each has the next one (default: 1)")
    given = parser.parse_args()
    started = time.monotonic()
    ended: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        root = Path(directory)
        seeds = f"{given.seed}-{given.seed + given.races - 1}"
        command = f"python -m faults.two_compactors --races {given.races} --seed {given.seed}"
        outcome = Outcome("two compactors, lock file deleted", command, file_system(root), seeds)
        in_a_child(prepare, str(root / "template"))
        for seed in range(given.seed, given.seed + given.races):
            ended[one_race(root / "template", root, seed, outcome)] += 1
            outcome.points += 1
            if sys.stderr.isatty():
                print(f"\r\x1b[K{outcome.points} of {given.races} races", end="", file=sys.stderr, flush=True)
        outcome.seconds = time.monotonic() - started
    for how, times in ended.most_common():
        print(f"{times:,} races: {how}")
    return outcome.say()


if __name__ == "__main__":
    sys.exit(main())
