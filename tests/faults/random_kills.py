"""SIGKILL at random moments under load: the whole service, single workers, the
compactor.

    python -m tests.faults.random_kills [--kills 1000] [--seed 1] [--first 0]
        [--directory DIR]

The kills are done in rounds of fifty, each on a data directory of its own, with four
clients that send until they are acknowledged. After a round everything is folded and
held against the ledgers, and verified. In every other round folded segments are deleted
at once, so that the archive alone must hold every event. A round depends on the seed
and its number alone: `--first` continues an interrupted run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.builders.server import ADMIN_TOKEN, Server, bearer
from tests.faults.clients import fleet, sending, unexpected
from tests.faults.oracle import acknowledged, find_violations, intended
from tests.faults.outcome import Outcome, file_system

KILLS_A_ROUND = 50
CLIENTS = 4
WORKERS = 2
MEND_TIMEOUT_S = 90.0  # the supervisor waits up to 30 s before it starts again what dies often
EVERYTHING = "everything"
COMPACTOR = "compact"
# One in three takes everything down, one in four the compactor, else a worker.
VICTIMS = (EVERYTHING,) * 4 + (COMPACTOR,) * 3 + ("ingest-0", "ingest-1") * 3


@dataclass
class Done:
    """What was killed so far, and how long the whole service took to answer again each
    time.
    """

    killed: Counter[str] = field(default_factory=Counter)
    restarts_s: list[float] = field(default_factory=list)
    generation: int = 0
    unfinished: int = 0  # temporary files of a killed publication that were not removed


class Round(NamedTuple):
    """One round: its settings, the load and the moments, all from one seed."""

    seed: str
    kills: int
    batch: int
    pause_s: float
    segment_max_bytes: int
    log_retention_days: int


def make_round(seed: int, number: int, kills: int) -> Round:
    pick = random.Random(f"{seed}-{number}")
    return Round(
        seed=f"{seed}-{number}",
        kills=kills,
        batch=pick.choice((60, 120, 250, 500)),
        pause_s=pick.choice((0.0, 0.01, 0.02)),
        segment_max_bytes=pick.choice((64 << 10, 256 << 10, 1 << 20)),
        log_retention_days=30 * (number % 2),
    )


def run_round(planned: Round, directory: Path, outcome: Outcome, done: Done) -> None:
    """Kill, let everything be folded, and check. Raises AssertionError or TimeoutError
    for what does not start or end.
    """
    with Server(
        directory,
        workers=WORKERS,
        segment_max_age=1,
        fold_interval=1,
        segment_max_bytes=planned.segment_max_bytes,
        log_retention_days=planned.log_retention_days,
    ) as server:
        clients = fleet(server, directory, CLIENTS, planned.batch, planned.pause_s)
        with sending(clients):
            kill_at_random(server, planned, done)
            wait_until(lambda: len(children(server)) == WORKERS + 1, MEND_TIMEOUT_S)
        fold(server)
        total = server.get("/admin/api/report", bots="include").json()["total"]["events"]
        difference = server.get("/admin/api/status").json()["balance"]["difference"]
    done.unfinished = sum(1 for _ in server.data.root.rglob(".*.tmp"))
    sent, acked = intended(directory), acknowledged(directory)
    violations = find_violations(server.data.root, sent, acked, folded=True, generation=done.generation)
    outcome.add(violations, len(acked), f"round {planned}", max(done.restarts_s, default=0.0))
    outcome.failures += unexpected(clients)
    if not len(acked) <= total <= len(sent) or difference:
        outcome.failures.append(
            f"round {planned}: {total} counted, {len(acked)} acknowledged, the balance is off by {difference}"
        )


def kill_at_random(server: Server, planned: Round, done: Done) -> None:
    """Wait, kill, wait. The moment and the victim come from the seed."""
    pick = random.Random(planned.seed)
    for _ in range(planned.kills):
        time.sleep(pick.uniform(0.02, 0.8))
        done.generation = max(done.generation, generation(server))
        victim = pick.choice(VICTIMS)
        if victim == EVERYTHING:
            server.kill()
            started = time.monotonic()
            server.start()
            done.restarts_s.append(time.monotonic() - started)
        else:
            victim = kill_child(server, victim)
        done.killed[victim] += 1


def kill_child(server: Server, wanted: str) -> str:
    """SIGKILL a child of the supervisor; another than the one that is wanted when that
    has not been started again yet.
    """

    def killed() -> bool:
        running = children(server)
        name = wanted if wanted in running else next(iter(running), "")
        if not name:
            return False
        with suppress(ProcessLookupError):
            os.kill(running[name], signal.SIGKILL)
            names.append(name)
        return bool(names)

    names: list[str] = []
    wait_until(killed, MEND_TIMEOUT_S)
    return names[0]


def children(server: Server) -> dict[str, int]:
    """Process ids of the running workers and the compactor, by name."""
    supervisor = server.running.pid
    pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text("ascii").split()
    named = ((_name(int(pid)), int(pid)) for pid in pids)
    return {name: pid for name, pid in named if name}


def _name(pid: int) -> str:
    """`ingest-0`, `compact`; nothing for what is not (yet, or any longer) a child of
    that kind.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8").split("\0")
    except OSError:
        return ""
    if "--supervised" not in words:
        return ""
    return f"ingest-{words[words.index('--writer') + 1]}" if "ingest" in words else COMPACTOR


def generation(server: Server) -> int:
    """That of the snapshot now; 0 before the first."""
    try:
        return int(json.loads(server.data.snapshot.read_bytes())["generation"])
    except FileNotFoundError:
        return 0


def fold(server: Server) -> None:
    """Everything that was acknowledged is counted afterwards. Patient: workers or the
    compactor may only just be starting.
    """

    def folded() -> bool:
        try:
            return server.request("POST", "/admin/api/fold", b"", bearer(ADMIN_TOKEN)).status == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_until(folded, MEND_TIMEOUT_S)


def wait_until(true: Callable[[], bool], timeout_s: float) -> None:
    """Raises TimeoutError when it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.random_kills", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first round to run")
    parser.add_argument("--directory", type=Path, help="where the data goes (a temporary directory)")
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="random-kills-", dir=given.directory))
    first = f" --first {given.first}" if given.first else ""
    command = f"python -m tests.faults.random_kills --kills {given.kills} --seed {given.seed}{first}"
    outcome = Outcome("SIGKILL at random moments under load", command, file_system(base), seeds=str(given.seed))
    began = time.monotonic()
    every = Done()
    with suppress(KeyboardInterrupt):  # the row then says how many there were
        for number in range(given.first, -(-given.kills // KILLS_A_ROUND)):
            planned = make_round(given.seed, number, min(KILLS_A_ROUND, given.kills - number * KILLS_A_ROUND))
            try_round(planned, base / f"round-{number:03d}", outcome, every)
            outcome.seconds = time.monotonic() - began
            say_progress(number, outcome)
    if not outcome.failures:
        shutil.rmtree(base)
    restarts = sorted(every.restarts_s)
    if restarts:
        print(f"killed: {dict(every.killed)}; median restart {restarts[len(restarts) // 2]:.2f} s of {len(restarts)}")
    print(f"temporary files that killed publications left behind: {every.unfinished}")
    return outcome.say()


def try_round(planned: Round, directory: Path, outcome: Outcome, every: Done) -> None:
    """A round, whatever comes of it. What failed is kept."""
    failed = len(outcome.failures)
    done = Done()
    directory.mkdir()
    try:
        run_round(planned, directory, outcome, done)
    except (AssertionError, TimeoutError) as error:
        outcome.failures.append(f"round {planned}: {str(error)[:300]}")
    every.killed += done.killed
    every.restarts_s += done.restarts_s
    every.unfinished += done.unfinished
    # Each kill might have been the one that loses an event: each is a place and a run;
    # all of a round are checked at once.
    outcome.points = outcome.runs = every.killed.total()
    if len(outcome.failures) == failed:
        shutil.rmtree(directory)
    for failure in outcome.failures[failed:]:
        print(f"FAILED, kept in {directory}: {failure}", file=sys.stderr, flush=True)


def say_progress(number: int, outcome: Outcome) -> None:
    print(
        f"round {number}: {outcome.points} kills, {outcome.acknowledged:,} acknowledged, lost {outcome.lost}, "
        f"double {outcome.double}, phantom {outcome.phantom}, {len(outcome.failures)} failures, "
        f"{outcome.seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
