"""SIGKILL before every system call of ingest, sealing, compaction and recovery,
enumerated and not sampled.

    python -m tests.faults.kill_points --seeds 5

Each scene (tests/faults/scenes.py) is played once undisturbed, and strace counts its
calls. Then it is played again for each call, and killed before it: with seed 0 before
every call that is not about memory or locks alone, with other seeds before every call
that changes the disk. What is left is checked as it is (tests/faults/oracle.py),
recovered twice, folded to the end without help, and checked again. Recovery itself is
also killed twice: at each of its calls that change the disk, and the recovery that
follows at each of these again. An interrupted programme continues where it was.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from shutil import rmtree

from tests.faults.kill_run import CHANGES, Point, Run, Runner
from tests.faults.oracle import Violations
from tests.faults.outcome import Outcome, commit, file_system
from tests.faults.scenes import HASTY, SCENES, Scene
from tests.faults.strace import KILLED

CHUNK = 10
PR_SET_PDEATHSIG = 1
STATE = Path(__file__).parents[2] / ".crash"
MEMORY = Path("/dev/shm")  # noqa: S108  a file system of its own, in memory

_runner: Runner


@dataclass(frozen=True)
class Options:
    scenes: tuple[str, ...] = tuple(SCENES)
    seeds: tuple[int, ...] = (0,)
    points: int | None = None
    jobs: int = 2
    every_call: bool = False
    minutes: float = float("inf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the programme. Exit code 1 when something was lost, counted twice, made up or
    broken.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_points", description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, help="at most so many, evenly spread over all there are (default: all)")
    parser.add_argument(
        "--scene", action="append", choices=[*SCENES, HASTY.name], help="only this one; may be repeated"
    )
    parser.add_argument("--seeds", type=int, default=1, help="shapes of each scene (default: %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--every-call", action="store_true", help="seed 0 also before calls about memory, locks and identity"
    )
    parser.add_argument("--jobs", type=int, default=2, help="points at the same time (default: %(default)s)")
    parser.add_argument(
        "--state", type=Path, default=STATE, help="where finished points are kept (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no point later than that (default: no limit)"
    )
    parser.add_argument("--data", type=Path, default=MEMORY, help="the file system of the data (default: %(default)s)")
    given = parser.parse_args(arguments)
    seeds = tuple(range(given.first_seed, given.first_seed + given.seeds))
    options = Options(tuple(given.scene or SCENES), seeds, given.points, given.jobs, given.every_call, given.minutes)
    command = " ".join(["python -m tests.faults.kill_points", *(sys.argv[1:] if arguments is None else arguments)])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was made is removed
    with Records(given.state / "kill_points.jsonl", commit()) as records:
        runs = run_all(options, given.data, records)
    return say(runs, options, given.data, command)


class Records:
    """Finished points, a line each: an interrupted programme continues.

    Only those of this commit count; with changes on top of it, it is unknown whether
    they were the same changes.
    """

    def __init__(self, path: Path, tested: str) -> None:
        self._tested = tested
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done = dict(self._read(path)) if path.exists() and not tested.endswith("-dirty") else {}
        self._file = path.open("a", buffering=1)

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, runs: Iterable[Run]) -> None:
        self._file.writelines(json.dumps({"commit": self._tested, **asdict(run)}) + "\n" for run in runs)

    def _read(self, path: Path) -> Iterator[tuple[Point, Run]]:
        for line in path.read_text("utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # half a line: the programme was killed while it wrote
            if record.pop("commit") == self._tested:
                point = Point(**record.pop("point"))
                yield point, Run(point, **record)


def run_all(options: Options, data: Path, records: Records | None = None) -> list[Run]:
    """Enumerate the points and run those that are not done yet. Returns the runs of all
    of them.
    """
    with workers(options, data) as pool:
        return run_points(pool, spread(enumerate_points(pool, options), options.points), records, options.minutes)


@contextmanager
def workers(options: Options, data: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes that play scenes in directories of their own, gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="kill-points-", dir=data))
    ledgers = Path(tempfile.mkdtemp(prefix="kill-points-"))
    context = multiprocessing.get_context("spawn")  # a worker forks for each point: it has no thread but its own
    try:
        with ProcessPoolExecutor(options.jobs, context, _begin, (scratch, ledgers, options.every_call)) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        rmtree(scratch, ignore_errors=True)
        rmtree(ledgers, ignore_errors=True)


def enumerate_points(pool: ProcessPoolExecutor, options: Options) -> list[Point]:
    """All points of these scenes with these seeds."""
    asked = [
        (name, seed, thread) for seed in options.seeds for name in options.scenes for thread in _scene(name).threads
    ]
    found: list[Point] = []
    for points in pool.map(_points_of, asked):
        found += points
        _show(f"{len(found)} points found")
    return found


def run_points(
    pool: ProcessPoolExecutor, wanted: Sequence[Point], records: Records | None = None, minutes: float = float("inf")
) -> list[Run]:
    """Run those of the points that have no record yet, as long as there is time: those
    that change the disk first.
    """
    begun = time.monotonic()
    done = records.done if records else {}
    runs = [done[point] for point in wanted if point in done]
    left = sorted((point for point in wanted if point not in done), key=lambda point: point.call not in CHANGES)
    waiting = [pool.submit(_run_chunk, chunk) for chunk in _chunks(left)]
    for chunk in waiting:
        if time.monotonic() - begun > 60 * minutes and chunk.cancel():
            continue
        finished = chunk.result()
        runs += finished
        if records:
            records.add(finished)
        _show(f"{len(runs)} of {len(wanted)} points, {sum(run.found for run in runs)} failures")
    return runs


def spread(points: Sequence[Point], count: int | None) -> list[Point]:
    """`count` of the points, evenly spread."""
    if count is None or count >= len(points):
        return list(points)
    return [points[number * len(points) // count] for number in range(count)]


def _scene(name: str) -> Scene:
    return (SCENES | {HASTY.name: HASTY})[name]


def _begin(scratch: Path, ledgers: Path, every_call: bool) -> None:
    global _runner
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no worker outlives the programme
    _runner = Runner(scratch, ledgers, every_call=every_call)


def _points_of(asked: tuple[str, int, str]) -> list[Point]:
    name, seed, thread = asked
    return _runner.points(_scene(name), seed, thread)


def _run_chunk(points: list[Point]) -> list[Run]:
    return [_runner.run(_scene(point.scene), point) for point in points]


def _chunks(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Points that begin with the same directory go to the same worker."""
    for _, alike in groupby(points, lambda point: point.begins_with):
        together = list(alike)
        yield from (together[start : start + CHUNK] for start in range(0, len(together), CHUNK))


def _show(progress: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{progress}\x1b[K", end="", file=sys.stderr, flush=True)


def say(runs: Sequence[Run], options: Options, data: Path, command: str) -> int:
    """A row for each scene and one for all of them. Returns the exit code."""
    places = f"{file_system(data)}, ledger {file_system(Path(tempfile.gettempdir()))}"
    for name in options.scenes:
        outcome(f"SIGKILL, {name}", [run for run in runs if run.point.scene == name], options, places, command).say()
    code = outcome("SIGKILL, all scenes", runs, options, places, command).say()
    missed = sum(run.ending != KILLED for run in runs)
    print(f"{len(runs) - missed} runs were killed; in {missed} the call did not come, or came first in another thread")
    print(f"{sum(run.changes for run in runs)} of the points are before a call that changes the disk")
    folded, known = sum(run.folded for run in runs), sum(not run.folded and not run.found for run in runs)
    print(f"{folded} were folded; {known} left a log, byte for byte, whose fold was checked in another run")
    return code if runs else 1


def outcome(fault: str, runs: Sequence[Run], options: Options, places: str, command: str) -> Outcome:
    made = Outcome(fault, command, places, f"{options.seeds[0]}-{options.seeds[-1]}")
    made.points = sum(run.ending == KILLED for run in runs)
    made.seconds = sum(run.seconds for run in runs)
    for run in runs:
        violations = Violations(frozenset(run.lost), frozenset(run.double), frozenset(run.phantom), tuple(run.broken))
        made.add(violations, run.acknowledged, str(run.point), run.restart_s)
    return made


if __name__ == "__main__":
    begun = time.monotonic()
    code = main()
    print(f"\n{time.monotonic() - begun:.0f} s in all", file=sys.stderr)
    raise SystemExit(code)
