"""Two compactors at once, while compact.lock is deleted under them: each
generation is committed by exactly one.

    python -m tests.faults.races --races 1000

A race: two processes fold the same directory, pass after pass; the lock file is deleted
at random moments, so that each believes that it may; a segment is sealed in between, so
that they do not see the same log. No generation may be committed twice, and what the
last one names must be there, byte for byte, and count everything once.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb

from compactor.generations.commit import CommitLost
from compactor.lock import CompactorBusy, compactor_lock
from compactor.process import compact_once
from compactor.run_pass import run_pass
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.timestamps import now_ms
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S
from tests.faults.oracle import Ledger, Violations, acknowledged, find_violations, intended
from tests.faults.outcome import Outcome, file_system
from tests.faults.small_server import settings_for
from tests.faults.traced_runs import FORK, segment_of

RACES = 1_000
RACERS = 2
PASSES = 2
DELETIONS = 6
LATER_MAX_S = 0.08


def race(root: Path, ledgers: Path, seed: int) -> tuple[Violations, list[str]]:
    """One race in a prepared directory. Returns what the oracle says, and what else may
    not be.
    """
    pick = random.Random(seed)
    data = DataDirectory(root)
    lines = [FORK.Pipe() for _ in range(RACERS)]
    racers = [
        FORK.Process(target=fold, args=(root, pick.random() * LATER_MAX_S, line[1]), daemon=True) for line in lines
    ]
    for racer in racers:
        racer.start()
    for deletion in range(DELETIONS):
        time.sleep(pick.random() * LATER_MAX_S)
        data.compact_lock.unlink(missing_ok=True)
        if deletion == 1:
            ledger = Ledger(ledgers, "between")
            segment_of(data, ledger, "between").seal()
            ledger.close()
    wrong = []
    committed: Counter[int] = Counter()
    for racer, (ours, _) in zip(racers, lines, strict=True):
        racer.join(TIMEOUT_S)
        if racer.exitcode != 0:
            wrong.append(f"a compactor ended with {racer.exitcode}")
            racer.kill()
            racer.join()
        while ours.poll():
            committed[ours.recv()] += 1
    wrong += [
        f"generation {generation} was committed {times} times" for generation, times in committed.items() if times > 1
    ]
    return judged(root, ledgers, wrong), wrong


def fold(root: Path, later_s: float, results: Connection) -> None:
    """A compactor that does not give up. Says which generations it committed."""
    data, settings = DataDirectory(root), settings_for(root)
    time.sleep(later_s)
    for _ in range(PASSES):
        try:
            with compactor_lock(data) as lock:
                results.send(run_pass(data, settings, SilentLog(), lock, now_ms()).snapshot.generation)
        except CompactorBusy:
            time.sleep(LATER_MAX_S / 4)
        except (CommitLost, OSError, duckdb.Error):
            continue  # as the scheduled pass: the next one starts anew
    os._exit(0)


def judged(root: Path, ledgers: Path, wrong: list[str]) -> Violations:
    """What the racers left, before and after an undisturbed pass; in a process
    of its own, for DuckDB's threads.
    """
    ours, theirs = FORK.Pipe()
    judge_ = FORK.Process(target=_check, args=(root, ledgers, theirs), daemon=True)
    judge_.start()
    theirs.close()
    try:
        if ours.poll(TIMEOUT_S):
            return ours.recv()  # type: ignore[no-any-return]
        raise EOFError
    except EOFError:
        wrong.append("what the race left cannot be folded")
        return Violations(frozenset(), frozenset(), frozenset(), ())
    finally:
        judge_.kill()
        judge_.join()


def _check(root: Path, ledgers: Path, results: Connection) -> None:
    sent = intended(ledgers), acknowledged(ledgers)
    violations = find_violations(root, *sent)
    if not violations:
        compact_once(DataDirectory(root), settings_for(root), SilentLog())
        violations = find_violations(root, *sent, folded=True)
    results.send(violations)
    os._exit(0)


def prepare(root: Path, ledgers: Path) -> None:
    """One generation, and three segments that are not folded."""
    ledgers.mkdir(parents=True)
    data = DataDirectory(root)
    make_data_directory(data)
    ledger = Ledger(ledgers, "before")
    for number in range(4):
        segment_of(data, ledger, f"before-{number}").seal()
        if number == 0:
            compact_once(data, settings_for(root), SilentLog())
    ledger.close()


def run(races: int, seed: int) -> Outcome:
    """So many races, each in a fresh copy of the same directory."""
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    place = Path(tempfile.mkdtemp(prefix="races-", dir=fast))
    command = f"python -m tests.faults.races --races {races} --seed {seed}"
    outcome = Outcome("two compactors, lock deleted", command, file_system(place), str(seed))
    started = time.monotonic()
    try:
        preparing = FORK.Process(target=prepare, args=(place / "template" / "data", place / "template" / "ledgers"))
        preparing.start()
        preparing.join()
        with suppress(KeyboardInterrupt):  # the row then says how many there were
            for number in range(races):
                shutil.copytree(place / "template", place / "race")
                violations, wrong = race(place / "race" / "data", place / "race" / "ledgers", seed * 1_000_000 + number)
                where = f"race {number} of {command}"
                outcome.add(violations, len(acknowledged(place / "race" / "ledgers")), where)
                outcome.failures += [f"{where}: {each}" for each in wrong]
                shutil.rmtree(place / "race")
                print(f"\r{number + 1} of {races}, {len(outcome.failures)} failures", end="", file=sys.stderr)
        print(file=sys.stderr)
    finally:
        shutil.rmtree(place)
    outcome.points = outcome.runs
    outcome.seconds = time.monotonic() - started
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.races", description=__doc__.partition("\n")[0])
    parser.add_argument("--races", type=int, default=RACES)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return run(given.races, given.seed).say()


if __name__ == "__main__":
    raise SystemExit(main())
