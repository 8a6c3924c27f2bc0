"""One kill point: where it is, and what becomes of a directory in which a process was
killed there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import time
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from shutil import copytree, rmtree

import duckdb

from compactor.fold.user_agents import parse_user_agent
from compactor.process import Compactor, compact_once
from shared.disk.layout import TEMP_SUFFIX, DataDirectory
from shared.segments.recovery import recover
from shared.segments.sealed import active_segments
from tests.builders.silent_log import SilentLog
from tests.faults.oracle import Violations, acknowledged, find_violations, intended, read_directory
from tests.faults.scenes import AGENT, Place, Scene
from tests.faults.strace import ELSEWHERE, KILLED, OTHERS, count_calls, kill_before, run_alone

RESTART_MAX_S = 5.0

# Calls that leave the disk other than it was (`openat` where it creates, `flock` for
# whom waits for the lock).
CHANGES = frozenset({
    "openat", "write", "writev", "pwrite64", "ftruncate", "fallocate", "fchmod", "fsync", "fdatasync", "rename",
    "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "flock",
})  # fmt: skip
# Calls about memory, turns and identity: what is on disk, and what was acknowledged is
# the same before and after them. DuckDB makes a thousand of them, in an order of its
# own.
INWARD = frozenset({
    "brk", "clone3", "exit", "futex", "getpid", "getrandom", "gettid", "madvise", "mmap", "mprotect", "munmap",
    "prlimit64", "rseq", "rt_sigaction", "rt_sigprocmask", "sched_getaffinity", "sched_yield", "set_robust_list",
    "sysinfo",
})  # fmt: skip

Remains = frozenset[tuple[str, str]]

_STAMP = re.compile(r"^\d{8}T\d{6}Z")


@dataclass(frozen=True)
class Point:
    """Before the `number`-th `call` of a thread in a scene. `after` is where a first
    kill was, of a scene played twice.
    """

    scene: str
    seed: int
    thread: str
    call: str
    number: int
    after: str = ""

    @property
    def begins_with(self) -> tuple[str, int, str]:
        return self.scene, self.seed, self.after

    def __str__(self) -> str:
        first = f"killed before {self.after}, then " if self.after else ""
        return f"{self.scene}, seed {self.seed}: {first}killed before {self.call}:{self.number} of {self.thread}"


@dataclass
class Run:
    """What came of one point. `ending` is KILLED, or the call did not come.

    `folded` is False where the log holds, byte for byte, what another run left: what a
    fold counts of it is known from then.
    """

    point: Point
    ending: int
    acknowledged: int = 0
    folded: bool = False
    restart_s: float = 0.0
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        return bool(self.lost or self.double or self.phantom or self.broken)

    @property
    def changes(self) -> bool:
        return self.ending == KILLED and self.point.call in CHANGES

    def blame(self, violations: Violations) -> None:
        self.lost = sorted({*self.lost, *violations.lost})
        self.double = sorted({*self.double, *violations.double})
        self.phantom = sorted({*self.phantom, *violations.phantom})
        self.broken += violations.broken


class Runner:
    """Plays scenes in directories of its own below two given ones, which are on
    different file systems.
    """

    def __init__(self, scratch: Path, ledgers: Path, *, every_call: bool = False) -> None:
        self._every_call = every_call
        self._fresh = _empty(scratch, ledgers, "fresh")
        self._prepared = _empty(scratch, ledgers, "prepared")
        self._place = _empty(scratch, ledgers, "run")
        self._report = self._place.ledger.parent / f"{self._place.ledger.name}.strace"
        self._said = self._place.ledger.parent / f"{self._place.ledger.name}.said"
        self._holds: tuple[str, int, str] | None = None
        # Of the directory that was prepared: what an undisturbed recovery leaves, and
        # what a fold of what was left counts.
        self._expected = Remains()
        self._known: dict[Remains, frozenset[str]] = {}
        parse_user_agent(AGENT)  # takes its rules apart once, and not in every child

    def points(self, scene: Scene, seed: int, thread: str) -> list[Point]:
        """All points of one thread of a scene."""
        if not scene.twice:
            return self._points(scene, seed, thread, "")
        firsts = [point for point in self._points(scene, seed, thread, "") if point.call in CHANGES]
        seconds: list[Point] = []
        for first in firsts:
            after = f"{first.call}:{first.number}"
            seconds += [point for point in self._points(scene, seed, thread, after) if point.call in CHANGES]
        return seconds

    def _points(self, scene: Scene, seed: int, thread: str, after: str) -> list[Point]:
        self._prepare(scene, seed, after)
        _copy(self._prepared, self._place)
        calls = count_calls(lambda gate: scene.play(self._place, seed, gate), thread, self._report)
        names = [name for name in sorted(calls) if self._is_wanted(name, seed, thread)]
        return [
            Point(scene.name, seed, thread, name, number + 1, after) for name in names for number in range(calls[name])
        ]

    def _is_wanted(self, call: str, seed: int, thread: str) -> bool:
        """Between two calls that change the disk the same lies there: for seed 0 that
        is tried out, for others relied on.
        """
        if seed or thread == OTHERS:
            return call in CHANGES
        return self._every_call or call not in INWARD

    def run(self, scene: Scene, point: Point) -> Run:
        """Kill the scene there, check, recover, fold, check again."""
        begun = time.monotonic()
        self._prepare(scene, point.seed, point.after)
        _copy(self._prepared, self._place)
        run = Run(point, self._kill(scene, point.seed, point.thread, point.call, point.number))
        if run.ending not in {KILLED, ELSEWHERE, 0}:
            run.broken.append(f"the scene ended with {run.ending}")
        acked, meant = acknowledged(self._place.ledger), intended(self._place.ledger)
        run.acknowledged = len(acked)
        run.blame(find_violations(self._place.root, meant, acked))
        generation = read_directory(self._place.root).generation
        run.blame(self._restart(scene, run, meant, acked, generation))
        run.broken += unbalanced(self._place.data) + litter(self._place.data)
        run.seconds = time.monotonic() - begun
        return run

    def _kill(self, scene: Scene, seed: int, thread: str, call: str, number: int) -> int:
        return kill_before(lambda gate: scene.play(self._place, seed, gate), thread, call, number, self._report)

    def _restart(self, scene: Scene, run: Run, meant: set[str], acked: set[str], generation: int) -> Violations:
        """Recover and fold, as the processes do when they are restarted, and check
        what is counted then.
        """
        begun = time.monotonic()
        try:
            left = recover_twice(self._place.data, self._expected if scene.only_recovers else None)
        except Exception as error:  # noqa: BLE001  any error: no operator would have been there
            run.broken.append(f"I7: recovery failed: {error!r}")
            return find_violations(self._place.root, meant, acked)
        if scene.only_logs and left in self._known:  # what would be folded now is what was folded then
            run.restart_s = time.monotonic() - begun
            counted = self._known[left]
            return Violations(frozenset(acked - counted), frozenset(), frozenset(counted - meant), ())
        self._fold(run)
        run.restart_s = time.monotonic() - begun
        violations = find_violations(self._place.root, meant, acked, folded=run.folded, generation=generation)
        if run.folded and not violations:
            self._known[left] = frozenset(read_directory(self._place.root).counted)
        return violations

    def _fold(self, run: Run) -> None:
        worked = _processor_s()
        code = run_alone(lambda: fold_all(self._place, run.point.seed), self._said)
        worked = _processor_s() - worked
        run.folded = not code
        if code:
            said = self._said.read_text("utf-8").strip() if self._said.exists() else f"it ended with {code}"
            run.broken.append(f"I7: the fold failed: {said}")
        if (
            worked > RESTART_MAX_S
        ):  # not the time by the clock, which is that of everything else on this machine as well
            run.broken.append(f"I7: the restart took {worked:.1f} s of a processor")

    def _prepare(self, scene: Scene, seed: int, after: str) -> None:
        """Have the directory ready that this scene begins with: a fresh one, or what a
        first kill left of it.
        """
        if self._holds == (scene.name, seed, after):
            return
        if self._holds is None or self._holds[:2] != (scene.name, seed):
            self._make_fresh(scene, seed)
        _copy(self._fresh, self._place)
        if after:
            call, _, number = after.partition(":")
            self._kill(scene, seed, scene.threads[0], call, int(number))
        _copy(self._place, self._prepared)
        self._holds = scene.name, seed, after

    def _make_fresh(self, scene: Scene, seed: int) -> None:
        self._known = {}
        _make_empty(self._fresh)
        scene.prepare(self._fresh, seed)
        if scene.only_recovers:
            _copy(self._fresh, self._place)
            recover_all(self._place.data)
            self._expected = remains(self._place.data, stamps=False)


def recover_twice(data: DataDirectory, expected: Remains | None) -> Remains:
    """Recovery run again leaves the same bytes; where nothing else is at work also
    those that it leaves undisturbed (I7).
    """
    recover_all(data)
    once = remains(data)
    recover_all(data)
    if remains(data) != once:
        raise AssertionError("a second recovery left other bytes")
    left = remains(data, stamps=False)
    if expected is not None and left != expected:
        raise AssertionError(f"recovery left {sorted(left)}, undisturbed it leaves {sorted(expected)}")
    return left


def fold_all(place: Place, seed: int) -> None:
    """What the compactor does when it is started again."""
    Compactor(place.data, place.settings(seed), SilentLog()).begin()
    compact_once(place.data, place.settings(seed), SilentLog())


def recover_all(data: DataDirectory) -> None:
    for writer in active_segments(data):
        recover(data, writer)


def remains(data: DataDirectory, *, stamps: bool = True) -> Remains:
    """The hash of each file of the log and of the quarantine, by name; without `stamps`
    not by when it was sealed.
    """
    files = [
        path for directory in (data.log, data.quarantine) for path in directory.iterdir() if path.suffix != TEMP_SUFFIX
    ]
    return frozenset((_name(path, stamps), _content(path, stamps)) for path in files)


def _name(path: Path, stamps: bool) -> str:
    return f"{path.parent.name}/{path.name if stamps else _STAMP.sub('', path.name)}"


def _content(path: Path, stamps: bool) -> str:
    if path.suffix == ".sha256" and not stamps:
        return path.read_text("ascii").partition(" ")[0]  # what follows is the name
    return hashlib.sha256(path.read_bytes()).hexdigest()


def litter(data: DataDirectory) -> list[str]:
    """Files that were being made when the kill came, and were not removed since.
    Requests are a line of text each.
    """
    left = (
        path for path in data.root.rglob(f"*{TEMP_SUFFIX}") if not path.name.startswith(f".{data.seal_request.name}")
    )
    return [f"I10: {path.relative_to(data.root)} is left for ever" for path in left]


def unbalanced(data: DataDirectory) -> list[str]:
    """The snapshot counts as many events as the counters of all days, also of those
    whose archive is gone (P8).
    """
    try:
        snapshot = json.loads(data.snapshot.read_bytes())
    except (FileNotFoundError, ValueError):
        return []  # there is none, or the oracle has said what is wrong with it
    known = sum(snapshot.get("dropped_days", {}).values())
    for day, kept in snapshot["days"].items():
        for counters in kept.get("counters", ()):
            part = data.part("counters", date.fromisoformat(day), counters["generation"])
            known += _events(_Counters(counters["sha256"], part)) if part.exists() else 0
    counted = snapshot["totals"]["counted"]
    return [] if known == counted else [f"P8: {counted} events are counted, the counters know {known}"]


@dataclass(frozen=True)
class _Counters:
    sha256: str
    path: Path = field(compare=False)


@lru_cache(maxsize=1024)
def _events(part: _Counters) -> int:
    with duckdb.connect(config={"threads": 1}) as database:
        row = database.execute(
            "SELECT coalesce(sum(events), 0)::BIGINT FROM read_parquet($1) WHERE dimension = 'total' AND visitors "
            "IS NULL",
            [str(part.path)],
        ).fetchone()
    return int(row[0]) if row else 0


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _empty(scratch: Path, ledgers: Path, name: str) -> Place:
    place = Place(scratch / f"{name}-{os.getpid()}", ledgers / f"{name}-{os.getpid()}")
    _make_empty(place)
    return place


def _make_empty(place: Place) -> None:
    for directory in (place.root, place.ledger):
        rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)


def _copy(source: Place, target: Place) -> None:
    for old, new in ((source.root, target.root), (source.ledger, target.ledger)):
        rmtree(new, ignore_errors=True)
        copytree(old, new)
