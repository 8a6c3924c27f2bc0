"""Copies of a directory in which passes went on: whatever was copied first, what was sealed when the copy began is counted.

A copy is put together here from what the directory was at several moments, as a copier finds it that takes one part of it
after the other: the snapshots, archive/, counters/ and log/, each of another moment.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from compactor.commit import compactor_lock
from compactor.copied import CopyIncomplete, begin
from compactor.rebuild import DayChange, rebuild
from compactor.verify import verify
from ingest.status import read_status
from shared.layout import DataDirectory
from shared.segments import sealed_segments
from shared.settings import Settings
from shared.snapshot import load
from tests.logs import NOON, SilentLog, data_directory, fold, fold_all, line, sealed
from tests.test_damage import scratch_directory
from tests.test_fold import archived, assert_verified

DAY_MS = 86_400_000
LONG_AGO = NOON - 200 * DAY_MS
KINDS = ("snapshots", "archive", "counters", "log")
MOMENTS = 4


class Timeline(NamedTuple):
    """A directory at several moments, the ids that were sealed at the first, and all ids."""

    moments: list[DataDirectory]
    first: set[str]
    ids: set[str]


def make_timeline(root: Path, passes: int) -> Timeline:
    """Moments that are some passes apart. Of the old day the log holds nothing any more, and its parts are merged meanwhile."""
    data = data_directory(root / "data")
    numbers = itertools.count()
    ids: list[str] = []

    def one_pass() -> None:
        number = next(numbers)
        new = [f"old-{number:04d}", f"new-{number:04d}"]
        ids.extend(new)
        sealed(data, [line(new[0], LONG_AGO, NOON + number)], "import")
        sealed(data, [line(new[1], NOON, NOON + number), line(ids[-3] if number else new[1], NOON, NOON + number + 1)])
        fold(data, NOON + number)

    for _ in range(6):
        one_pass()
    for segment in sealed_segments(data)[:-1]:  # as retention does it
        segment.path.unlink()
        segment.checksum.unlink()
    moments = []
    first: set[str] = set()
    for moment in range(MOMENTS):
        moments.append(DataDirectory(Path(shutil.copytree(data.root, root / f"moment-{moment}"))))
        first = first or set(ids)
        for _ in range(passes):
            one_pass()
    return Timeline(moments, first, set(ids))


@pytest.fixture(scope="module", params=[1, 5], ids=["a pass apart", "five passes apart"])
def timeline(request: pytest.FixtureRequest) -> Iterator[Timeline]:
    with scratch_directory() as directory:
        yield make_timeline(Path(directory), request.param)


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield Path(directory)


def copy_in_order(timeline: Timeline, order: tuple[str, ...], root: Path) -> DataDirectory:
    """What a copier has that takes the kinds in this order, each at its moment."""
    data = data_directory(root / "copy")
    for moment, kind in zip(timeline.moments, order, strict=True):
        if kind == "snapshots":
            for path in moment.root.glob("snapshot*.json"):
                shutil.copy2(path, data.root)
        else:
            shutil.copytree(moment.root / kind, data.root / kind, dirs_exist_ok=True)
    return data


def findings(data: DataDirectory) -> list[Any]:
    return verify(data, Settings(data_dir=data.root), lambda _step: None).findings


def rebuilt(data: DataDirectory, log: SilentLog | None = None) -> list[DayChange]:
    return rebuild(data, Settings(data_dir=data.root), log or SilentLog(), NOON + 1000, dry_run=False)


def started(data: DataDirectory, log: SilentLog | None = None) -> None:
    with compactor_lock(data) as lock:
        begin(data, log or SilentLog(), lock)


def ids_of(data: DataDirectory) -> list[str]:
    return [row[0] for row in archived(data)]


def assert_whole(data: DataDirectory, timeline: Timeline) -> None:
    """Verified; each event that was sealed when the copy began counted once; none that nobody sent; the balance holds."""
    assert_verified(data)
    counted = ids_of(data)
    assert len(counted) == len(set(counted))
    assert timeline.first <= set(counted) <= timeline.ids
    assert read_status(data, Settings(data_dir=data.root))["balance"]["difference"] == 0
    totals = load(data).totals
    assert totals.counted == len(counted)
    assert min(totals.duplicates, totals.quarantined) >= 0


ORDERS = list(itertools.permutations(KINDS))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_copy_holds_what_was_sealed_when_it_began(timeline: Timeline, order: tuple[str, ...], place: Path) -> None:
    data = copy_in_order(timeline, order, place)
    if findings(data):  # foldlog verify || foldlog rebuild
        rebuilt(data)
        assert_verified(data)
    started(data)
    fold_all(data, NOON + 2000)
    assert_whole(data, timeline)
