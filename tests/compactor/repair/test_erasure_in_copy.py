"""Erasures and repairs: a rebuild or a fallback never restores an erased visitor
without a warning.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from compactor.erasure.rewrite import erase_pending
from compactor.lock import compactor_lock
from compactor.repair.directory_check import InconsistentDirectory
from shared.disk.layout import DataDirectory
from shared.erasures import ErasureCompleted, create_request, read_records
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from tests.builders.archive import assert_verified
from tests.builders.copies import ids_of, rebuilt, started, tree
from tests.builders.disks import scratch_directory
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

DAY = date(2026, 11, 22)
VISITOR = "visitor-to-erase"


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield Path(directory)


def pass_with_the_visitor(data: DataDirectory, number: int) -> None:
    sealed(
        data,
        [line(f"own-{number}", NOON, NOON + number, visitor=VISITOR), line(f"other-{number}", NOON, NOON + number)],
    )
    fold(data, NOON + number)


def erase(data: DataDirectory, now_ms: int = NOON + 100) -> None:
    create_request(data, VISITOR, None)
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
    return [id_ for id_ in ids_of(data) if id_.startswith("own")]


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
