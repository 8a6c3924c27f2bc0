"""Bounded load for minutes and a fault every few seconds: nothing is lost, nothing
counts twice, nothing grows without end.

    python -m tests.faults.soak [--minutes 15] [--seed 1] [--directory DIR]

The faults: SIGKILL of a worker, of the compactor, of everything; a process that is
stopped for a while; requests to seal; an active segment renamed, deleted or truncated
behind its writer's back; compact.lock deleted; a disk filled to its last byte (a small
tmpfs, when this may mount one). Folded segments are deleted at once. What was
acknowledged into a segment that is then taken from the writer are lost with it: those
ids, and no others, need not be counted.

At the end everything is folded and held against the ledgers, `foldlog verify` must find
nothing, and memory, descriptors and the disk are compared between the first and the
last quarter of the time (I10).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.disk.control_files import touch
from tests.builders.server import Server, run_foldlog
from tests.faults.clients import Client, fleet, sending, unexpected
from tests.faults.file_systems import CannotMount, small_tmpfs
from tests.faults.oracle import acknowledged, find_violations, intended
from tests.faults.outcome import Outcome, file_system
from tests.faults.random_kills import (
    COMPACTOR,
    MEND_TIMEOUT_S,
    WORKERS,
    children,
    fold,
    generation,
    kill_child,
    wait_until,
)
from tests.faults.tampering import delete, rename, truncate
from tests.faults.trend import Trend, growth, rows

CLIENTS = 4
BATCH = 10
FOLD_MEMORY = 256 << 20
DISK_MB = 512
BLOCK = 1 << 20
PAGE = 4096


@dataclass
class Soak:
    """One run: what the faults share."""

    server: Server
    pick: random.Random
    hold_s: tuple[float, float]  # how long a process stands still, and the disk is full
    done: Counter[str] = field(default_factory=Counter)
    taken: set[str] = field(default_factory=set)  # ids that a fault deleted before a writer could keep them
    restarts_s: list[float] = field(default_factory=list)
    generation: int = 0
    failures: list[str] = field(default_factory=list)


def kill_worker(soak: Soak) -> None:
    kill_child(soak.server, f"ingest-{soak.pick.randrange(WORKERS)}")


def kill_compactor(soak: Soak) -> None:
    kill_child(soak.server, COMPACTOR)


def kill_everything(soak: Soak) -> None:
    soak.server.kill()
    started = time.monotonic()
    try:
        soak.server.start()
    except AssertionError:
        soak.failures.append(f"I7: it did not answer {time.monotonic() - started:.0f} s after it was started again")
        soak.server.start()
    soak.restarts_s.append(time.monotonic() - started)


def stop_for_a_while(soak: Soak) -> None:
    """SIGSTOP and SIGCONT: a process that stands still holds its locks, and no process
    may take it for dead.
    """
    running = children(soak.server)
    pid = running[soak.pick.choice(sorted(running))] if running else soak.server.running.pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(soak.pick.uniform(*soak.hold_s))
        finally:
            os.kill(pid, signal.SIGCONT)


def ask_to_seal(soak: Soak) -> None:
    touch(soak.server.data.seal_request)


def rename_active(soak: Soak) -> None:
    taken, after = rename(soak.server, soak.pick)
    soak.taken |= taken
    if after > CLIENTS * BATCH:  # more than one group can hold
        soak.failures.append(f"{after} lines were written into a segment after it was renamed")


def delete_active(soak: Soak) -> None:
    soak.taken |= delete(soak.server, soak.pick)


def truncate_active(soak: Soak) -> None:
    soak.taken |= truncate(soak.server, soak.pick)


def delete_lock(soak: Soak) -> None:
    soak.server.data.compact_lock.unlink(missing_ok=True)


def fill_disk(soak: Soak) -> None:
    """To the last byte, for a while. Only for a small disk that holds nothing else."""
    ballast = soak.server.data.root / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for block in (BLOCK, PAGE):
                with suppress(OSError):
                    while file.write(bytes(block)) == block:
                        pass
            time.sleep(soak.pick.uniform(*soak.hold_s))
    finally:
        ballast.unlink(missing_ok=True)


Fault = Callable[[Soak], None]
FAULTS: tuple[Fault, ...] = (
    kill_worker,
    kill_compactor,
    kill_everything,
    stop_for_a_while,
    ask_to_seal,
    rename_active,
    delete_active,
    truncate_active,
    delete_lock,
)


@dataclass(frozen=True)
class Pace:
    """How long, how often, and how much is sent."""

    seconds: float
    seed: int = 1
    every_s: tuple[float, float] = (0.5, 5.0)  # between two faults
    hold_s: tuple[float, float] = (0.5, 3.0)
    pause_s: float = 0.04  # between two batches of a client


def run(pace: Pace, directory: Path, outcome: Outcome) -> list[str]:
    """Soak a new data directory. Returns what is to be printed."""
    with data_disk(directory) as is_small, Server(directory, **SETTINGS) as server:
        outcome.file_system = file_system(server.data.root)
        soak = Soak(server, random.Random(pace.seed), pace.hold_s)
        clients = fleet(server, directory, CLIENTS, BATCH, pace.pause_s)
        with Trend(server) as trend, sending(clients):
            with suppress(KeyboardInterrupt):  # the row then says how many there were
                keep_at_it(soak, clients, pace, (*FAULTS, fill_disk) if is_small else FAULTS)
            wait_until(lambda: len(children(server)) == WORKERS + 1, MEND_TIMEOUT_S)
        fold(server)
        total = server.get("/admin/api/report", bots="include").json()["total"]["events"]
        server.stop()
        verified = run_foldlog(["verify"], server.environ)
        sent, acked = intended(directory), acknowledged(directory)
        violations = find_violations(
            server.data.root, sent, acked - soak.taken, folded=True, generation=soak.generation
        )
    outcome.add(violations, len(acked), f"seed {pace.seed}, {dict(soak.done)}", max(soak.restarts_s, default=0.0))
    outcome.points = outcome.runs = soak.done.total()
    outcome.failures += soak.failures + unexpected(clients)
    outcome.failures += growth(trend.samples, FOLD_MEMORY)
    if verified.returncode:
        outcome.failures.append(f"foldlog verify: {verified.stdout}{verified.stderr}")
    if not len(acked - soak.taken) <= total <= len(sent):
        outcome.failures.append(
            f"{total} counted, {len(acked)} acknowledged, {len(soak.taken)} deleted, {len(sent)} intended"
        )
    return [
        f"faults: {dict(sorted(soak.done.items()))}",
        f"{total:,} events counted; ids deleted by faults {len(soak.taken):,}; generation {soak.generation:,}",
        *rows(trend.samples),
    ]


SETTINGS = {
    "workers": WORKERS,
    "segment_max_age": 1,
    "segment_max_bytes": 256 << 10,
    "fold_interval": 1,
    "fold_memory": FOLD_MEMORY,
    "log_retention_days": 0,
}


@contextmanager
def data_disk(directory: Path) -> Iterator[bool]:
    """A small disk for directory/data where one may be mounted; False where the data is
    on the disk of everything else.
    """
    with ExitStack() as mounts:
        is_small = True
        try:
            mounts.enter_context(small_tmpfs(directory / "data", f"size={DISK_MB}m"))
        except CannotMount as error:
            print(f"the disk is not filled: {error}", file=sys.stderr)
            is_small = False
        yield is_small


def keep_at_it(soak: Soak, clients: list[Client], pace: Pace, faults: Sequence[Fault]) -> None:
    """A fault every few seconds: each once, in an order of its own, and all over again
    while there is time.
    """
    began = time.monotonic()
    while not soak.done or time.monotonic() < began + pace.seconds:
        for fault in soak.pick.sample(faults, len(faults)):
            time.sleep(soak.pick.uniform(*pace.every_s))
            soak.generation = max(soak.generation, generation(soak.server))
            fault(soak)
            soak.done[fault.__name__] += 1
        say_progress(soak, clients, time.monotonic() - began)


def say_progress(soak: Soak, clients: list[Client], seconds: float) -> None:
    acked = sum(client.acknowledged for client in clients)
    refused = sum(client.refused for client in clients)
    print(
        f"{seconds:.0f} s: {soak.done.total()} faults, {acked:,} acknowledged, {refused:,} asked to come again, "
        f"generation {soak.generation}",
        file=sys.stderr,
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the ledgers go, and the data if nothing can be mounted")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="soak-", dir=given.directory))
    command = f"python -m tests.faults.soak --minutes {given.minutes:g} --seed {given.seed}"
    outcome = Outcome("a fault every few seconds under bounded load", command, "-", seeds=str(given.seed))
    return outcome.play(lambda: run(Pace(given.minutes * 60, given.seed), directory, outcome), directory)


if __name__ == "__main__":
    sys.exit(main())
