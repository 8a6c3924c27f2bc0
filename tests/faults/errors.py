"""Errors of the system, at each call that touches the data directory: each call, each
errno, once and from then on for ever.

    python -m tests.faults.errors                     # every point
    python -m tests.faults.errors --sample 40         # some of them, by seed

The workloads of tests/faults/traced_runs.py run untouched first, to see which calls
there are; then once for each point. After it a process without errors starts, recovers
and folds, and the oracle checks. strace's record must also show that no acknowledgement
came without its fdatasync, and that no descriptor was used again whose sync had failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.builders.waiting import TIMEOUT_S
from tests.faults.file_systems import need
from tests.faults.oracle import Violations, acknowledged, find_violations, intended
from tests.faults.outcome import Outcome, file_system
from tests.faults.small_server import GAVE_UP, settle
from tests.faults.traced_runs import FORK, WORKLOADS, numbers_of_calls, prepare, quiet, traced

ERRNOS = {
    "write": ("ENOSPC", "EIO", "EDQUOT"),
    "pwrite64": ("ENOSPC", "EIO"),
    "fdatasync": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "ENOSPC"),
    "rename": ("EIO", "EACCES", "ENOSPC", "EROFS", "EXDEV"),
    "link": ("EIO", "EMLINK", "EACCES"),
    "linkat": ("EIO", "EMLINK", "EACCES"),
    "unlink": ("EIO", "EACCES", "EROFS"),
    "unlinkat": ("EIO", "EACCES"),
    "openat": ("EMFILE", "EACCES", "ENOSPC", "EROFS"),
    "close": ("EIO",),
    "mkdir": ("ENOSPC", "EACCES"),
    "rmdir": ("EIO",),
    "ftruncate": ("EIO",),
    "fchmod": ("EPERM",),
    "flock": ("ENOLCK",),
    "newfstatat": ("EIO", "EACCES"),
    "read": ("EIO",),
    "pread64": ("EIO",),
    "getdents64": ("EIO",),
}
# What is only called because a write failed, fails as well.
AFTER_WRITE = ("ftruncate", "fsync")
RESTART_MAX_S = 5.0
RECORDED = "write,fdatasync,fsync,close"


@dataclass(frozen=True, order=True)
class Point:
    """The n-th call of a name fails, or every one from the n-th on. With `then`, that
    call fails after it as well.
    """

    workload: str
    call: str
    errno: str
    n: int
    for_ever: bool
    then: str = ""

    @property
    def options(self) -> list[str]:
        """For strace: what to record and what to let fail."""
        recorded = ["-e", f"trace={RECORDED},{self.call}{',' + self.then if self.then else ''}"]
        then = ["-e", f"inject={self.then}:error=EIO:when=1+"] if self.then else []
        return [
            *recorded,
            "-e",
            f"inject={self.call}:error={self.errno}:when={self.n}{'+' if self.for_ever else ''}",
            *then,
        ]

    def __str__(self) -> str:
        ever, then = " for ever" if self.for_ever else "", f", then {self.then} EIO" if self.then else ""
        return f"{self.workload}: {self.call} {self.n} {self.errno}{ever}{then}"


@dataclass(frozen=True)
class Stage:
    """Directories of a programme, and what each workload finds when it begins."""

    root: Path

    @property
    def template(self) -> Path:
        return self.root / "template"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def data(self) -> Path:
        return self.run / "data"

    @property
    def ledgers(self) -> Path:
        return self.run / "ledgers"

    @property
    def record(self) -> Path:
        return self.root / "record"

    def reset(self) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.template, self.run)


@contextmanager
def stage() -> Iterator[Stage]:
    """A prepared stage in memory, deleted afterwards."""
    need("strace")
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    made = Stage(Path(tempfile.mkdtemp(prefix="errors-", dir=fast)))
    try:
        made.template.mkdir()
        (made.template / "ledgers").mkdir()
        preparing = FORK.Process(target=prepare, args=(made.template / "data", made.template / "ledgers"))
        preparing.start()
        preparing.join()
        if preparing.exitcode:
            raise AssertionError("the stage could not be prepared")
        yield made
    finally:
        shutil.rmtree(made.root)


def points(made: Stage, workloads: Sequence[str]) -> list[Point]:
    """Every point, from runs in which nothing fails."""
    found = []
    for workload in workloads:
        made.reset()
        code = traced(workload, made.data, made.ledgers, made.record, ["-e", f"trace=?{',?'.join(ERRNOS)}"])
        if code != 0:
            raise AssertionError(f"{workload} ends with {code} though nothing failed")
        for call, numbers in numbers_of_calls(made.record, made.data).items():
            found += [
                Point(workload, call, errno, n, for_ever)
                for errno in ERRNOS[call]
                for n in sorted(numbers)
                for for_ever in (False, True)
            ]
            if call == "write":
                found += [
                    Point(workload, call, "ENOSPC", n, False, then) for then in AFTER_WRITE for n in sorted(numbers)
                ]
    return found


def run_point(made: Stage, point: Point, outcome: Outcome) -> None:
    """One error, then a start without errors, then the oracle."""
    made.reset()
    code = traced(point.workload, made.data, made.ledgers, made.record, point.options)
    where = f"{point} of {outcome.command}"
    if point.workload == "pass" and code == -signal.SIGABRT:
        # DuckDB ends the process where some reads fail: a kill like any other, after
        # which the supervisor starts the next one.
        outcome.remarks.append(f"{where}: aborted")
    elif code not in {0, GAVE_UP}:
        outcome.failures.append(f"{where}: {'hung' if code is None else f'ended with {code}'}")
    outcome.failures += [f"{where}: {wrong}" for wrong in wrongs_of_record(made, point)]
    violations, restart_s = settled(made, outcome, where)
    outcome.add(violations, len(acknowledged(made.ledgers)), where, restart_s)


def settled(made: Stage, outcome: Outcome, where: str) -> tuple[Violations, float]:
    """Start without errors, in a process of its own, which then checks the
    directory.
    """
    ours, theirs = FORK.Pipe()
    started = time.monotonic()
    with quiet():
        child = FORK.Process(target=_settle_and_check, args=(made, theirs), daemon=True)
        child.start()
    theirs.close()
    try:
        restart_s, violations = ours.recv() if ours.poll(TIMEOUT_S) else (TIMEOUT_S, None)
    except EOFError:
        restart_s, violations = time.monotonic() - started, None
    finally:
        child.join(1)
        child.kill()
        child.join()
        ours.close()
    if violations is None:
        outcome.failures.append(f"{where}: the next start failed, or took more than {RESTART_MAX_S:g} s of a processor")
    return violations or Violations(frozenset(), frozenset(), frozenset(), ()), restart_s


def _settle_and_check(made: Stage, results: Connection) -> None:
    started = time.monotonic()
    asyncio.run(settle(made.data))
    restart_s = time.monotonic() - started
    if time.process_time() > RESTART_MAX_S:  # of a processor: whatever else the machine has to do
        raise SystemExit(f"the start took {time.process_time():.1f} s")
    results.send(
        (restart_s, find_violations(made.data, intended(made.ledgers), acknowledged(made.ledgers), folded=True))
    )


_RECORDED = re.compile(r"(?:\d+\s+)?(\w+)\((\d+)<([^>]*)>.*\) = (-?\d+)")


def wrongs_of_record(made: Stage, point: Point) -> Iterator[str]:
    """What strace saw that may not be: an answer without its sync, or the use of a
    descriptor whose sync failed.
    """
    suspect: set[str] = set()
    synced = 0
    for line in made.record.read_text("utf-8", "replace").splitlines():
        call = _RECORDED.match(line)
        if call is None:
            continue
        name, descriptor, failed = call[1], call[2], call[4].startswith("-")
        if name == "close":
            suspect.discard(descriptor)
        elif descriptor in suspect and name in {"write", "fdatasync", "fsync"} and "active-" in call[3]:
            yield f"{name} on a descriptor whose sync had failed"
        elif name in {"fdatasync", "fsync"} and failed:
            suspect.add(descriptor)
        synced += name == "fdatasync" and not failed
    if point.workload == "ingest" and (answered := _requests(made)) > synced:
        yield f"{answered} requests were acknowledged after {synced} successful syncs"


def _requests(made: Stage) -> int:
    return len({id_.rpartition("-")[0] for id_ in acknowledged(made.ledgers) if id_.startswith("request-")})


def run(workloads: Sequence[str], sample: int, seed: int, command: str) -> Outcome:
    """All points of these workloads, or `sample` of them."""
    with stage() as made:
        outcome = Outcome("errors of the system", command, file_system(made.root), str(seed) if sample else "-")
        started = time.monotonic()
        chosen = points(made, workloads)
        if sample:
            chosen = random.Random(seed).sample(chosen, min(sample, len(chosen)))
        with suppress(KeyboardInterrupt):  # the row then says how many there were
            for number, point in enumerate(chosen, 1):
                run_point(made, point, outcome)
                print(f"\r{number} of {len(chosen)}, {len(outcome.failures)} failures", end="", file=sys.stderr)
        print(file=sys.stderr)
        outcome.points = outcome.runs
        outcome.seconds = time.monotonic() - started
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.errors", description=__doc__.partition("\n")[0])
    parser.add_argument("--workload", choices=sorted(WORKLOADS), action="append")
    parser.add_argument("--sample", type=int, default=0, help="0: all points")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return run(
        given.workload or list(WORKLOADS),
        given.sample,
        given.seed,
        f"python -m tests.faults.errors {' '.join(sys.argv[1:])}".rstrip(),
    ).say()


if __name__ == "__main__":
    raise SystemExit(main())
