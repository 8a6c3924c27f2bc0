"""`foldlog rebuild` without a valid snapshot: the events of the parts and of the
retained log are counted again, each once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from compactor.generations.commit import has_no_valid_snapshot
from compactor.process import Compactor
from compactor.repair.rebuild import rebuild
from shared.disk.layout import DataDirectory, parse_part
from shared.generations.load import load_snapshot
from shared.schema import ARCHIVE_COLUMNS
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from tests.builders.archive import HOUR_MS, archived, assert_verified, counters
from tests.builders.collisions import IDS_OF_ONE_NUMBER
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.questions import ask
from tests.builders.silent_log import SilentLog

DAY_MS = 24 * HOUR_MS
DAY = date(2026, 11, 22)


def without_snapshots(data: DataDirectory) -> None:
    for path in data.root.glob("snapshot*.json"):
        path.write_bytes(path.read_bytes()[:-10])
    assert has_no_valid_snapshot(data)


def rebuilt(data: DataDirectory) -> SilentLog:
    log = SilentLog()
    rebuild(data, Settings(data_dir=data.root), log, NOON, dry_run=False)
    return log


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """Ten passes with repeats and merged parts. A copy received earlier has moved one
    event to the day before.
    """
    data = data_directory(tmp_path_factory.mktemp("several"))
    sealed(data, [line("moved", NOON, NOON + 5000, url="https://example.com/late")])
    fold(data)
    for number in range(8):
        sealed(data, [line(f"event-{number}"), line(f"event-{number // 2}")])
        fold(data)
    sealed(data, [line("moved", NOON - DAY_MS, NOON, url="https://example.com/early")], "1")
    fold(data)
    return data


@pytest.fixture
def several(template: DataDirectory, tmp_path: Path) -> DataDirectory:
    return DataDirectory(Path(shutil.copytree(template.root, tmp_path / "data")))


@pytest.mark.parametrize("segments", ["present", pytest.param("deleted", marks=pytest.mark.long)])
def test_events_count_once_though_replaced_parts_repeat_them(several: DataDirectory, segments: str) -> None:
    before = (
        archived(several),
        counters(several),
        load_snapshot(several).totals.counted,
        load_snapshot(several).generation,
    )
    without_snapshots(several)
    if segments == "deleted":
        for path in several.log.iterdir():
            path.unlink()
    log = rebuilt(several)
    assert "snapshot_lost" in log.events()
    after = load_snapshot(several)
    assert (archived(several), counters(several), after.totals.counted) == before[:3]
    assert after.generation > before[3]
    assert_verified(several)
    sealed(several, [line("event-1"), line("event-9")], "2")
    fold(several)
    assert load_snapshot(several).totals.counted == before[2] + 1
    assert_verified(several)


def test_unreadable_part_is_quarantined_and_its_events_come_from_the_log(several: DataDirectory) -> None:
    before = archived(several)
    newest = max(several.archive.glob("2026-11-22/*.parquet"))
    newest.write_bytes(b"PAR1 and nothing else")
    without_snapshots(several)
    log = rebuilt(several)
    assert "part_damaged" in log.events()
    assert archived(several) == before
    assert [path.name for path in several.quarantine.glob("*.parquet")] == [f"damaged-archive-2026-11-22-{newest.name}"]
    assert_verified(several)


def test_counters_of_a_day_without_an_archive_are_kept(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-2")])
    fold(data)
    for passes in range(8):
        fold(data, NOON + min(passes, 4) * DAY_MS + passes, archive_retention_days=1)
    assert not list(data.archive.glob("*/*"))
    assert all(kept.expired for kept in load_snapshot(data).days.values())
    before = counters(data), load_snapshot(data).totals.counted
    without_snapshots(data)
    rebuilt(data)
    after = load_snapshot(data)
    assert (counters(data), after.totals.counted) == before
    assert all(kept.expired and kept.visitor_zone == "UTC" for kept in after.days.values())
    assert_verified(data)


def test_expired_day_with_later_counters_is_what_it_was(tmp_path: Path) -> None:
    """Its counters are several parts, some by quarter of an hour and some cut at the
    midnights of a time zone: what the newest part notes says so without a snapshot.
    """
    data = data_directory(tmp_path)
    given: dict[str, Any] = {"archive_retention_days": 1, "timezone": "Asia/Kathmandu"}
    sealed(data, [line(f"event-{number}", NOON - number * HOUR_MS) for number in range(12)])
    fold(data, **given)
    for passes in range(8):
        fold(data, NOON + min(passes, 4) * DAY_MS + passes, **given)
    for number in range(3):
        late = [line(f"late-{number}-{event}", NOON - event, NOON + 4 * DAY_MS) for event in range(40)]
        sealed(data, late)
        fold(data, NOON + 4 * DAY_MS + 60_000 * number, **given)
    before = load_snapshot(data)
    asked = [{"from": "2026-11-20", "to": "2026-11-23", "by": by, "tz": "Asia/Kathmandu"} for by in ("path", "event")]
    answers = list(ask(data, asked))
    assert before.days[DAY].expired and len(before.days[DAY].counters) > 1
    without_snapshots(data)
    for path in data.log.iterdir():
        path.unlink()
    rebuild(data, Settings(data_dir=data.root, **given), SilentLog(), NOON, dry_run=False)
    assert list(ask(data, asked)) == answers
    after = load_snapshot(data).days[DAY]
    for name in ("counters", "quarters", "zone", "uncounted", "capped", "expired"):
        assert getattr(after, name) == getattr(before.days[DAY], name), name


def test_all_counters_of_a_day_stay_when_its_archive_is_lost(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number, events in enumerate((60, 2, 1)):
        sealed(data, [line(f"event-{number}-{event}") for event in range(events)])
        fold(data)
    assert len(load_snapshot(data).days[DAY].counters) > 1
    for path in (*data.archive.glob("*/*"), *data.log.iterdir()):
        path.unlink()
    rebuilt(data)
    assert sum(row[6] for row in counters(data) if row[4] == "total") == 63


@pytest.mark.long
@pytest.mark.parametrize("is_lost", [False, True], ids=["with its snapshots", "without"])
def test_rebuild_with_a_clock_that_jumped_stops_retention(tmp_path: Path, is_lost: bool) -> None:
    """Later passes compare their clock with the time that the rebuild writes (P9)."""
    data = data_directory(tmp_path)
    for number in range(5):
        sealed(data, [line(f"event-{number}")])
        fold(data)
    if is_lost:
        without_snapshots(data)
    ahead = NOON + 800 * DAY_MS
    rebuild(data, Settings(data_dir=data.root), SilentLog(), ahead, dry_run=False)
    for passes in range(1, 6):
        fold(data, ahead + passes * 60_000)
    assert len(sealed_segments(data)) == 5
    assert len(archived(data)) == 5
    assert load_snapshot(data).retention.skipped


def kill_rebuild(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill before the commit leaves the parts that the rebuild has written."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("compactor.repair.rebuild._next_snapshot", killed)
        rebuilt(data)


def kill_pass(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed(data, [line("event-of-a-killed-pass")])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("compactor.run_pass.commit", killed)
        fold(data)


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.long
@pytest.mark.parametrize("kill_first", [kill_rebuild, kill_pass])
def test_rebuild_killed_after_another_or_after_a_killed_pass_stops_nothing(
    several: DataDirectory,
    monkeypatch: pytest.MonkeyPatch,
    kill_first: Callable[[DataDirectory, pytest.MonkeyPatch], None],
) -> None:
    """The second deletes the orphans of the first, so its own are not of a later
    generation, as in a copy.
    """
    before = [row[0] for row in archived(several)]
    generation = load_snapshot(several).generation
    kill_first(several, monkeypatch)
    kill_rebuild(several, monkeypatch)
    assert {parse_part(path.name) for path in several.archive.rglob("*.parquet")} <= set(range(generation + 2))
    Compactor(several, Settings(data_dir=several.root), SilentLog()).begin()
    assert "orphans_swept" not in rebuilt(several).events()
    fold(several)
    of_the_pass = ["event-of-a-killed-pass"] if kill_first is kill_pass else []
    assert sorted(row[0] for row in archived(several)) == sorted([*before, *of_the_pass])
    assert_verified(several)


def test_one_id_of_two_senders_stays_two_events(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", NOON, NOON), line("event-2", NOON, NOON)])
    fold(data)
    sealed(data, [line("event-1", NOON, NOON + 1000, sender="key"), line("event-2", NOON, NOON + 1000)])
    fold(data)
    assert load_snapshot(data).totals.counted == 3
    rebuilt(data)
    assert load_snapshot(data).totals.counted == 3
    assert sorted(row[[*ARCHIVE_COLUMNS].index("sender")] for row in archived(data)) == ["key", "page", "page"]
    assert_verified(data)


def test_event_of_an_unreferenced_part_is_found_though_another_has_its_number(tmp_path: Path) -> None:
    ours, theirs = data_directory(tmp_path / "ours"), data_directory(tmp_path / "theirs")
    for data, id_ in zip((ours, theirs), IDS_OF_ONE_NUMBER, strict=True):
        sealed(data, [line(id_)])
        fold(data)
    (part,) = theirs.archive.glob("*/*.parquet")
    (ours.archive / part.parent.name / "g0000000005.parquet").write_bytes(part.read_bytes())
    (change,) = rebuild(ours, Settings(data_dir=ours.root), SilentLog(), NOON, dry_run=False)
    assert (change.events_before, change.events_after, change.found) == (1, 2, 1)
    assert_verified(ours)
