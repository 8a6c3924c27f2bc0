"""Copies of a directory in which passes were running: whatever was copied first, every
event that was sealed when the copy began is counted.

A copy is assembled here from the directory at several moments, as a program copies one
folder after the other: the snapshots, archive/, counters/ and log/, each of another
moment.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

from compactor.repair.directory_check import InconsistentDirectory
from compactor.repair.rebuild import rebuild
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from tests.builders.archive import assert_verified
from tests.builders.archive import counters as counter_rows
from tests.builders.copies import findings, ids_of, rebuilt, started, tree
from tests.builders.disks import scratch_directory
from tests.builders.logs import NOON, data_directory, fold, fold_all, line, sealed
from tests.builders.silent_log import SilentLog

DAY_MS = 86_400_000
DAY = date(2026, 11, 22)
LONG_AGO = NOON - 200 * DAY_MS
KINDS = ("snapshots", "archive", "counters", "log")
MOMENTS = 4


class Timeline(NamedTuple):
    """A directory at several moments, the ids that were sealed at the first one, all
    ids, and how many lines.
    """

    moments: list[DataDirectory]
    first: set[str]
    ids: set[str]
    lines: int


def make_timeline(root: Path, passes: int) -> Timeline:
    """Moments that are some passes apart. The log has nothing of the old day any more,
    and its parts are merged meanwhile.
    """
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
        for _ in range(passes if moment else 0):
            one_pass()
        moments.append(DataDirectory(Path(shutil.copytree(data.root, root / f"moment-{moment}"))))
        first = first or set(ids)
    return Timeline(moments, first, set(ids), 3 * next(numbers))


@pytest.fixture(scope="module")
def timeline() -> Iterator[Timeline]:
    with scratch_directory() as directory:
        yield make_timeline(Path(directory), passes=2)


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield Path(directory)


def copy_in_order(timeline: Timeline, order: tuple[str, ...], root: Path) -> DataDirectory:
    """A copy that took the kinds in this order, each at its moment."""
    data = data_directory(root / "copy")
    for moment, kind in zip(timeline.moments, order, strict=True):
        if kind == "snapshots":
            for path in moment.root.glob("snapshot*.json"):
                shutil.copy2(path, data.root)
        else:
            shutil.copytree(moment.root / kind, data.root / kind, dirs_exist_ok=True)
    return data


def assert_complete(data: DataDirectory, timeline: Timeline) -> None:
    """It verifies, and lines add up. Each event that was sealed when the copy began is
    counted once, and no other event that was not sent.

    No line counts twice: the pass does not find the lines of unreferenced parts again.
    """
    assert_verified(data)
    counted = ids_of(data)
    assert len(counted) == len(set(counted))
    assert timeline.first <= set(counted) <= timeline.ids
    assert read_status(data, Settings(data_dir=data.root)).balance.difference == 0
    totals = load_snapshot(data).totals
    assert totals.counted == len(counted)
    assert totals.lines <= timeline.lines
    assert min(totals.duplicates, totals.quarantined) >= 0


ORDERS = [
    ("snapshots", "archive", "counters", "log"),
    ("snapshots", "log", "archive", "counters"),
    ("snapshots", "log", "counters", "archive"),
    ("archive", "counters", "log", "snapshots"),
    ("archive", "counters", "snapshots", "log"),
    ("log", "archive", "counters", "snapshots"),
    ("log", "snapshots", "counters", "archive"),
    ("counters", "log", "archive", "snapshots"),
]


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_copy_holds_what_was_sealed_when_it_began(timeline: Timeline, order: tuple[str, ...], place: Path) -> None:
    data = copy_in_order(timeline, order, place)
    if findings(data):  # foldlog verify || foldlog rebuild
        rebuilt(data)
        assert_verified(data)
    started(data)
    fold_all(data, NOON + 2000)
    assert_complete(data, timeline)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("order", ORDERS[::3], ids="-".join)
def test_copy_that_is_started_without_a_rebuild_loses_nothing(
    timeline: Timeline, order: tuple[str, ...], place: Path
) -> None:
    data = copy_in_order(timeline, order, place)
    before = tree(data)
    with pytest.raises(InconsistentDirectory, match="foldlog rebuild"):
        started(data)
    rebuild(data, Settings(data_dir=data.root), SilentLog(), NOON + 1000, dry_run=True)
    assert tree(data) == before
    rebuilt(data)
    started(data)
    fold_all(data, NOON + 2000)
    assert_complete(data, timeline)


@pytest.mark.long
def test_rebuild_reports_events_of_the_snapshot_that_no_part_of_the_copy_has(timeline: Timeline, place: Path) -> None:
    data = copy_in_order(timeline, ("archive", "counters", "log", "snapshots"), place)
    had = load_snapshot(data).totals
    changes = rebuilt(data)
    gone = sum(change.lost for change in changes)
    assert gone == had.counted - len(ids_of(data)) > 0
    assert load_snapshot(data).totals.lines == had.lines
    assert load_snapshot(data).totals.quarantined == gone


def test_events_of_unreferenced_parts_are_added_to_the_balance(timeline: Timeline, place: Path) -> None:
    """Their segments are not in the copy, because the log was copied first."""
    data = copy_in_order(timeline, ("log", "snapshots", "counters", "archive"), place)
    had = load_snapshot(data).totals
    changes = rebuilt(data)
    found = sum(change.found for change in changes)
    more = len(ids_of(data)) - had.counted
    assert found >= more > 0
    assert load_snapshot(data).totals.lines == had.lines + more


# A day whose archive expires while the directory is copied.


class Expiry(NamedTuple):
    """A directory before and after the archive of its one day expired, and how many
    events its counters have.
    """

    before: DataDirectory
    after: DataDirectory
    events: int


@pytest.fixture(scope="module")
def expiry() -> Iterator[Expiry]:
    with scratch_directory() as directory:
        root = Path(directory)
        data = data_directory(root / "data")
        sealed(data, [line("event-1", visitor="ann"), line("event-2", visitor="bob")])
        fold(data)
        for segment in sealed_segments(data):
            segment.path.unlink()
            segment.checksum.unlink()
        before = DataDirectory(Path(shutil.copytree(data.root, root / "before")))
        for passes in range(8):
            fold(data, NOON + min(passes, 4) * DAY_MS + passes, archive_retention_days=1)
        assert not list(data.archive.glob("*/*")) and load_snapshot(data).days[DAY].expired
        yield Expiry(before, data, 2)


LATE = list(itertools.product([False, True], repeat=3))


@pytest.mark.long
@pytest.mark.parametrize("late", LATE, ids=lambda late: "-".join("after" if each else "before" for each in late))
def test_day_that_expired_meanwhile_keeps_its_counts(expiry: Expiry, late: tuple[bool, ...], place: Path) -> None:
    """Snapshots, archive/ and counters/, each from before or from after."""
    data = data_directory(place / "copy")
    snapshots, archive, counters = (expiry.after if each else expiry.before for each in late)
    for path in snapshots.root.glob("snapshot*.json"):
        shutil.copy2(path, data.root)
    shutil.copytree(archive.archive, data.archive, dirs_exist_ok=True)
    shutil.copytree(counters.counters, data.counters, dirs_exist_ok=True)
    if findings(data):
        rebuild(data, Settings(data_dir=data.root), SilentLog(), NOON + 5 * DAY_MS, dry_run=False)
    started(data)
    fold(data, NOON + 5 * DAY_MS)
    assert_verified(data)
    day = load_snapshot(data).days[DAY]
    assert sum(row[6] for row in counter_rows(data) if row[4] == "total") == expiry.events
    assert bool(day.archive) != day.expired
    assert load_snapshot(data).totals.counted == expiry.events


def test_day_of_which_nothing_is_left_does_not_stop_the_passes(expiry: Expiry, place: Path) -> None:
    data = DataDirectory(Path(shutil.copytree(expiry.after.root, place / "copy")))
    for path in data.counters.glob("*/*"):
        path.unlink()
    started(data)
    fold(data, NOON + 5 * DAY_MS)
    assert [each.problem for each in findings(data)] == ["is missing"]
