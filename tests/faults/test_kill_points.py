"""A sample of tests/faults/kill_points.py: SIGKILL before system calls of ingest,
sealing, compaction and recovery (P1, P5 to P7).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from pathlib import Path

import pytest

from tests.faults.kill_points import MEMORY, Options, Records, enumerate_points, run_points, spread, workers
from tests.faults.kill_run import CHANGES, Point, Run
from tests.faults.strace import KILLED, is_there

pytestmark = [pytest.mark.crash, pytest.mark.component]

SCENES = ("ingest", "seal", "compact", "recover")
SAMPLE = 25


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    if not is_there():
        if os.environ.get("CI") == "true":
            pytest.fail("strace is not installed, and CI=true asks for every component")
        pytest.skip("strace is not installed")
    with workers(Options(), MEMORY) as pool:
        yield pool


@pytest.fixture(scope="module")
def points(pool: ProcessPoolExecutor) -> list[Point]:
    return enumerate_points(pool, Options(SCENES))


@pytest.mark.long
@pytest.mark.parametrize(
    ("scene", "thread", "calls"),
    [
        ("ingest", "main", {"openat", "flock", "fsync"}),
        ("ingest", "writer", {"write", "fdatasync", "newfstatat"}),
        ("seal", "writer", {"openat", "flock", "write", "fsync", "rename"}),
        ("compact", "main", {"openat", "flock", "mkdir", "write", "fsync", "link", "rename", "unlink", "rmdir"}),
        ("recover", "main", {"openat", "flock", "write", "fsync", "rename", "unlink"}),
    ],
)
def test_every_kind_of_call_is_among_the_points(points: list[Point], scene: str, thread: str, calls: set[str]) -> None:
    assert calls <= {point.call for point in points if (point.scene, point.thread) == (scene, thread)}


@pytest.mark.long
def test_all_calls_of_a_name_are_points(points: list[Point]) -> None:
    """One rename for each file that is published, one more for the segment itself: none
    is passed over.
    """
    renames = [point.number for point in points if (point.scene, point.call) == ("recover", "rename")]
    assert renames == [1, 2, 3]  # quarantine, checksum, segment


@pytest.mark.long
def test_kill_before_any_call_loses_and_repeats_nothing(pool: ProcessPoolExecutor, points: list[Point]) -> None:
    runs = run_points(pool, sample(points))
    assert [str(run) for run in runs if run.found] == []
    assert sum(run.ending == KILLED for run in runs) >= SAMPLE - 5  # some calls depend on how threads take turns
    assert sum(run.acknowledged for run in runs) > 100


def sample(points: list[Point]) -> list[Point]:
    """One point in the middle of each kind of call, spread over scenes and threads."""
    changing = [point for point in points if point.call in CHANGES]
    kinds = [list(alike) for _, alike in groupby(changing, lambda point: (point.scene, point.thread, point.call))]
    return spread([alike[len(alike) // 2] for alike in kinds], SAMPLE)


@pytest.mark.long
def test_recovery_killed_twice_leaves_the_same_bytes(pool: ProcessPoolExecutor) -> None:
    firsts = ("write:2", "rename:2", "rename:3", "unlink:5")
    twice = [
        Point("recover-twice", 0, "main", call, number, first)
        for first in firsts
        for call, number in (("rename", 1), ("fsync", 3), ("unlink", 2))
    ]
    runs = run_points(pool, twice)
    assert [str(run) for run in runs if run.found] == []
    assert sum(run.ending == KILLED for run in runs) >= 8


@pytest.mark.long
def test_writer_that_answers_too_early_is_found_out(pool: ProcessPoolExecutor) -> None:
    honest, hasty = run_points(pool, [Point(scene, 0, "writer", "write", 1) for scene in ("ingest", "hasty")])
    assert honest.ending == hasty.ending == KILLED
    assert not honest.found and honest.acknowledged == 0
    assert set(hasty.lost) and len(hasty.lost) == hasty.acknowledged


@pytest.mark.long
def test_call_that_does_not_come_is_no_kill(pool: ProcessPoolExecutor) -> None:
    (run,) = run_points(pool, [Point("recover", 0, "main", "fsync", 1000)])
    assert run.ending == 0 and not run.found


def test_programme_goes_on_with_what_is_not_done(tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    done = Run(Point("seal", 1, "main", "fsync", 2), KILLED, acknowledged=7, broken=["I5: …"])
    with Records(file, "this") as records:
        records.add([done])
    with Records(file, "another") as records:
        records.add([Run(Point("seal", 1, "main", "fsync", 3), KILLED)])
    with file.open("a") as half_written:
        half_written.write('{"commit": "this", "poi')
    with Records(file, "this") as records:
        assert records.done == {done.point: done}
    with Records(file, "this-dirty") as records:
        records.add([done])
    with Records(file, "this-dirty") as records:
        assert records.done == {}
