"""A process that is given too little memory: the kernel kills it where it happens to
be, in a commit or in a pass.

    python -m tests.faults.out_of_memory [--kills 100] [--seed 1]

The server (tests/faults/small_server.py) runs in a memory cgroup of its own, whose
limit is drawn: some do not survive their start, some die in a pass, some continue and
are no run. After each kill a start without a limit must find everything that was
acknowledged, once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.oracle import acknowledged, find_violations, intended
from tests.faults.outcome import Outcome, file_system

GROUPS = Path("/sys/fs/cgroup/memory")
LEAST_MIB = 24
MOST_MIB = 60
LIMIT_FILES = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
RUN_MAX_S = 6.0
TRIES_EACH = 4


def missing() -> str | None:
    """Why this cannot be tried here, or None."""
    if not (GROUPS / LIMIT_FILES[0]).exists():
        return "there is no memory cgroup (version 1)"
    return None if os.access(GROUPS, os.W_OK) and os.geteuid() == 0 else "only root may limit memory"


@contextmanager
def limited(limit_mib: int) -> Iterator[Path]:
    """A cgroup with so much memory, gone afterwards."""
    group = GROUPS / f"foldlog-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        for name in LIMIT_FILES:
            if (group / name).exists():
                (group / name).write_text(f"{limit_mib << 20}")
        yield group
    finally:
        for _ in range(50):  # the kernel lets go of the last process a moment after its end
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def one_run(directory: Path, limit_mib: int, seed: int, outcome: Outcome) -> bool:
    """A server within a limit until it is killed. Returns whether it was: if not, this
    is no run.
    """
    ledgers, data = directory / "ledgers", directory / "data"
    ledgers.mkdir(parents=True)
    with limited(limit_mib) as group:
        # A shell joins the group and becomes the server: nothing of this process counts
        # towards the limit.
        server = f"exec {sys.executable} -m tests.faults.small_server {data} {ledgers} run{seed}"
        command = ["sh", "-c", f"echo $$ > {group}/cgroup.procs && {server}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            code = process.wait(RUN_MAX_S)
        except subprocess.TimeoutExpired:
            code = 0
        finally:
            process.kill()
            process.wait()
    if code != -signal.SIGKILL:
        return False
    started = time.monotonic()
    settle = [sys.executable, "-m", "tests.faults.small_server", str(data), str(ledgers), "settle"]
    done = subprocess.run(settle, capture_output=True, text=True, check=False, timeout=120)
    restart_s = time.monotonic() - started
    where = f"seed {seed}, {limit_mib} MiB"
    if done.returncode:
        outcome.failures.append(f"{where}: the next start failed: {done.stderr[-1000:]}")
    answered = acknowledged(ledgers)
    outcome.add(find_violations(data, intended(ledgers), answered, folded=True), len(answered), where, restart_s)
    return True


def run(directory: Path, kills: int, seed: int) -> Outcome:
    """So many kills. Raises RuntimeError where memory cannot be limited."""
    if reason := missing():
        raise RuntimeError(reason)
    command = f"python -m tests.faults.out_of_memory --kills {kills} --seed {seed}"
    outcome = Outcome("out of memory", command, file_system(directory), str(seed))
    pick = random.Random(seed)
    started = time.monotonic()
    for number in range(TRIES_EACH * kills):
        if outcome.runs < kills:
            one_run(directory / str(number), pick.randint(LEAST_MIB, MOST_MIB), number, outcome)
            if sys.stderr.isatty():
                print(f"\r{outcome.runs} of {kills} kills, {len(outcome.failures)} failures", end="", file=sys.stderr)
    outcome.points = outcome.runs
    outcome.seconds = time.monotonic() - started
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description="Servers that are given too little memory.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foldlog-memory-") as place:
        return run(Path(place), given.kills, given.seed).say()


if __name__ == "__main__":
    sys.exit(main())
