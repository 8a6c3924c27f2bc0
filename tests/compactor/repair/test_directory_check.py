"""A directory whose snapshot and parts do not belong together: it reverts to a kept
snapshot if that loses nothing, and otherwise nothing changes until a rebuild.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from compactor.process import Compactor, erase_now
from compactor.repair.directory_check import InconsistentDirectory
from compactor.retention.command import retain_now
from shared.disk.layout import DataDirectory
from shared.generations.load import kept_generations, load_snapshot
from shared.generations.part_presence import missing_parts
from shared.generations.snapshot import decode_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from tests.builders.archive import assert_verified
from tests.builders.copies import findings, ids_of, rebuilt, started, tree
from tests.builders.disks import scratch_directory
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield Path(directory)


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


@pytest.mark.parametrize("kind", ["archive", pytest.param("counters", marks=pytest.mark.long)])
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
    compactor.request()
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
