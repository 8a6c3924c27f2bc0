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
from typing import Any, NamedTuple

import pytest

from compactor.erasure.rewrite import erase_pending
from compactor.lock import compactor_lock
from compactor.process import Compactor, erase_now
from compactor.repair.directory_check import InconsistentDirectory, check_directory
from compactor.repair.rebuild import rebuild
from compactor.repair.rebuild_days import DayChange
from compactor.repair.verify import verify
from compactor.retention.command import retain_now
from shared.disk.layout import DataDirectory
from shared.erasures import ErasureCompleted, create_request, read_records
from shared.generations.load import kept_generations, load_snapshot
from shared.generations.part_presence import missing_parts
from shared.generations.snapshot import decode_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from tests.builders.archive import archived, assert_verified
from tests.builders.archive import counters as counter_rows
from tests.builders.disks import scratch_directory
from tests.builders.logs import NOON, data_directory, fold, fold_all, line, sealed
from tests.builders.silent_log import SilentLog

DAY_MS = 86_400_000
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


def findings(data: DataDirectory) -> list[Any]:
    return verify(data, Settings(data_dir=data.root), lambda _step: None).findings


def rebuilt(data: DataDirectory, log: SilentLog | None = None) -> list[DayChange]:
    return rebuild(data, Settings(data_dir=data.root), log or SilentLog(), NOON + 1000, dry_run=False)


def started(data: DataDirectory, log: SilentLog | None = None) -> None:
    with compactor_lock(data) as lock:
        check_directory(data, log or SilentLog(), lock)


def ids_of(data: DataDirectory) -> list[str]:
    return [row[0] for row in archived(data)]


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


def tree(data: DataDirectory) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file() and path != data.compact_lock}


@pytest.fixture
def several(place: Path) -> DataDirectory:
    """Nine passes, the last of which merged the archive."""
    data = data_directory(place / "data")
    for number in range(9):
        sealed(data, [line(f"event-{number}", NOON, NOON + number)])
        fold(data, NOON + number)
    return data


ALL = [f"event-{number}" for number in range(9)]
DAY = date(2026, 11, 22)


@pytest.mark.parametrize("kind", ["archive", "counters"])
def test_kept_snapshot_replaces_one_with_missing_parts(several: DataDirectory, kind: str) -> None:
    """Every segment that it had not folded is present, so nothing is lost."""
    current = load_snapshot(several)
    several.part(kind, DAY, current.generation).unlink()
    log = SilentLog()
    started(several, log)
    assert [fields["went_back_to"] for event, fields in log.entries if event == "parts_missing"] == [
        current.generation - 1
    ]
    assert load_snapshot(several).generation > current.generation
    assert (several.quarantine / f"damaged-snapshot.{current.generation}.json").exists()
    fold(several, NOON + 100)
    assert ids_of(several) == ALL
    assert_verified(several)


@pytest.mark.long
def test_kept_snapshot_does_not_replace_it_if_a_segment_is_missing_too(several: DataDirectory) -> None:
    several.part("archive", DAY, load_snapshot(several).generation).unlink()
    newest = sealed_segments(several)[-1]
    newest.path.unlink()
    before = tree(several)
    with pytest.raises(InconsistentDirectory, match="foldlog rebuild"):
        started(several)
    assert tree(several) == before
    (change,) = rebuilt(several)
    assert change.lost == 1
    started(several)
    assert ids_of(several) == ALL[:-1]


def test_nothing_is_swept_or_folded_beside_missing_parts_until_a_rebuild(several: DataDirectory) -> None:
    """After the rebuild the running compactor resumes without a restart."""
    merged = load_snapshot(several).days[DAY].archive[0]
    several.part("archive", DAY, merged.generation).unlink()
    for path in several.root.glob("snapshot.*.json"):
        path.unlink()
    orphan = several.part("archive", date(2026, 11, 1), 3)
    orphan.parent.mkdir()
    orphan.write_bytes(b"what no snapshot names")
    sealed(several, [line("event-9", NOON, NOON + 9)])
    generation, log = load_snapshot(several).generation, SilentLog()
    compactor = Compactor(several, Settings(data_dir=several.root), log)
    compactor.run()
    assert "pass_failed" in log.events()
    settings = Settings(data_dir=several.root)
    assert [text for text in read_status(several, settings).warnings if "foldlog rebuild" in text]
    with pytest.raises(InconsistentDirectory):
        retain_now(several, settings, log, lambda: NOON, confirmed=True)
    with pytest.raises(InconsistentDirectory):
        erase_now(several, settings, log)
    assert orphan.exists() and load_snapshot(several).generation == generation
    rebuilt(several)
    compactor.run()
    assert ids_of(several) == [*ALL, "event-9"]
    assert read_status(several, settings).warnings == []
    assert not orphan.exists()
    assert_verified(several)


@pytest.mark.long
def test_parts_of_a_later_generation_than_the_snapshot_are_kept_and_reported_by_verify(several: DataDirectory) -> None:
    """As after an older snapshot.json was restored: they may be the only copy of
    events.
    """
    older = several.kept_snapshot(7).read_bytes()
    for path in several.root.glob("snapshot*.json"):
        path.unlink()
    several.snapshot.write_bytes(older)
    for segment in sealed_segments(several):
        segment.path.unlink()
    with pytest.raises(InconsistentDirectory, match="later generation"):
        started(several)
    assert [each.action for each in findings(several) if "later generation" in each.problem]
    rebuilt(several)
    started(several)
    assert ids_of(several) == ALL
    assert_verified(several)


@pytest.mark.long
def test_rebuild_leaves_no_kept_snapshot_with_missing_parts(several: DataDirectory) -> None:
    several.part("archive", DAY, load_snapshot(several).generation).unlink()
    rebuilt(several)
    for generation in kept_generations(several):
        kept = decode_snapshot(several.kept_snapshot(generation).read_bytes(), several.kept_snapshot(generation))
        assert not [*missing_parts(several, kept)]


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


# A visitor who is erased while the directory is copied.

GONE = "visitor-who-goes"


def pass_with_the_visitor(data: DataDirectory, number: int) -> None:
    sealed(
        data, [line(f"gone-{number}", NOON, NOON + number, visitor=GONE), line(f"other-{number}", NOON, NOON + number)]
    )
    fold(data, NOON + number)


def erase(data: DataDirectory, now_ms: int = NOON + 100) -> None:
    create_request(data, GONE, None)
    with compactor_lock(data) as lock:
        erase_pending(data, Settings(data_dir=data.root), SilentLog(), lock, now_ms)


def erased_meanwhile(place: Path, early: tuple[str, ...]) -> DataDirectory:
    """A copy that took these files and folders before the erasure, and all others after
    it.
    """
    data, copy = data_directory(place / "data"), place / "copy"
    for number in range(4):
        pass_with_the_visitor(data, number)
    copy.mkdir()
    copy_missing(data, copy, early)
    erase(data)
    copy_missing(data, copy, ("snapshot*.json", "archive", "counters", "log", "quarantine", "erasures.ndjson"))
    return data_directory(copy)


def copy_missing(data: DataDirectory, copy: Path, patterns: tuple[str, ...]) -> None:
    """Copy what the copy does not have yet."""
    for path in (path for pattern in patterns for path in data.root.glob(pattern)):
        if path.is_dir() and not (copy / path.name).exists():
            shutil.copytree(path, copy / path.name)
        elif not (copy / path.name).exists():
            shutil.copy2(path, copy)


def ids_of_the_visitor(data: DataDirectory) -> list[str]:
    return [id_ for id_ in ids_of(data) if id_.startswith("gone")]


def erasure_may_be_undone(log: SilentLog) -> list[object]:
    return [fields["erased_at"] for event, fields in log.entries if event == "erasure_may_be_undone"]


@pytest.mark.long
@pytest.mark.parametrize("early", [("snapshot.*.json",), ()], ids=["with the earlier snapshots", "parts alone"])
def test_copy_made_across_an_erasure_restores_no_visitor_without_a_warning(place: Path, early: tuple[str, ...]) -> None:
    data = erased_meanwhile(place, ("archive", "counters", *early))
    (done,) = [each for each in read_records(data) if isinstance(each, ErasureCompleted)]
    before = tree(data)
    with pytest.raises(InconsistentDirectory, match="foldlog rebuild"):
        started(data)
    assert tree(data) == before
    log = SilentLog()
    rebuilt(data, log)
    assert erasure_may_be_undone(log) == [[done.done_at]]
    assert ids_of_the_visitor(data)
    erase(data, NOON + 2000)
    assert ids_of_the_visitor(data) == [] and len(ids_of(data)) == 4
    assert_verified(data)
    log = SilentLog()
    rebuilt(data, log)
    assert erasure_may_be_undone(log) == []


@pytest.mark.long
def test_rebuild_without_a_snapshot_warns_of_erased_visitors(place: Path) -> None:
    data = erased_meanwhile(place, ("archive",))
    for path in data.root.glob("snapshot*.json"):
        path.write_bytes(b"{")
    log = SilentLog()
    rebuilt(data, log)
    assert len(erasure_may_be_undone(log)) == 1 and ids_of_the_visitor(data)


@pytest.mark.long
def test_rebuild_warns_of_an_erasure_that_the_copy_has_only_started(place: Path) -> None:
    data = erased_meanwhile(place, ("archive",))
    begun = data.erasures.read_bytes().splitlines(keepends=True)[0]
    data.erasures.write_bytes(begun)
    with pytest.raises(InconsistentDirectory):
        started(data)
    log = SilentLog()
    rebuilt(data, log)
    assert len(erasure_may_be_undone(log)) == 1


def test_kept_snapshot_from_after_an_erasure_replaces_one_with_missing_parts(place: Path) -> None:
    data = data_directory(place / "data")
    pass_with_the_visitor(data, 0)
    erase(data)
    sealed(data, [line("other-1", NOON, NOON + 200)])
    fold(data, NOON + 200)
    data.part("archive", DAY, load_snapshot(data).generation).unlink()
    log = SilentLog()
    started(data, log)
    assert "parts_missing" in log.events()
    fold(data, NOON + 300)
    assert ids_of(data) == ["other-0", "other-1"]


def test_restored_segment_from_before_an_erasure_reduces_the_erased(place: Path) -> None:
    """As docs/runbook.md says of a corrupt segment: the visitor counts again, and is
    erased again.
    """
    data = data_directory(place / "data")
    pass_with_the_visitor(data, 0)
    (segment,) = sealed_segments(data)
    older = {path: path.read_bytes() for path in (segment.path, segment.checksum)}
    erase(data)
    for path, content in older.items():
        path.write_bytes(content)
    rebuilt(data)
    totals = load_snapshot(data).totals
    assert (totals.counted, totals.duplicates, totals.quarantined, totals.erased) == (2, 0, 0, 0)
    erase(data, NOON + 2000)
    totals = load_snapshot(data).totals
    assert (totals.counted, totals.duplicates, totals.quarantined, totals.erased) == (1, 0, 0, 1)
    assert_verified(data)
