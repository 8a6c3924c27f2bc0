"""The pass from outside: what is on disk before and after it, with gaps, newer formats
and retention.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.segments.line import DataFromNewerVersion
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import epoch_ms, utc_day
from tests.builders.archive import assert_verified
from tests.builders.logs import NOON, data_directory, fold, line, sealed

DAY_MS = 86_400_000


def test_snapshot_references_every_part_and_every_segment(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    sealed(data, [line("event-2", NOON - DAY_MS)], "import")
    fold(data)
    snapshot = load_snapshot(data)
    assert snapshot.folded == {"0": 1, "import": 1}
    assert sorted(snapshot.days) == [utc_day(NOON - DAY_MS), utc_day(NOON)]
    assert_verified(data)


def test_missing_segment_is_folded_when_it_appears(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    first = sealed(data, [line("event-1")])
    away = tmp_path / "away"
    away.mkdir()
    for file in (first.file, first.checksum):
        (data.log / file).rename(away / file)
    # The writer never uses a number again, so what comes next is number 2.
    second = sealed(data, [line("event-2")])
    assert second.sequence == 1
    for file, new in ((second.file, ".ndjson"), (second.checksum, ".sha256")):
        moved = f"{second.stem[:-10]}{2:010d}{new}"
        (data.log / file).rename(data.log / moved)
    fold(data)
    assert load_snapshot(data).folded == {"0": 2}
    assert load_snapshot(data).missing == {"0": (1,)}
    for file in (first.file, first.checksum):
        (away / file).rename(data.log / file)
    fold(data)
    assert load_snapshot(data).missing == {}
    assert load_snapshot(data).totals.counted == 2


def test_newer_snapshot_format_is_rejected(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    data.snapshot.write_text('{"format": 4, "whatever": []}')
    with pytest.raises(DataFromNewerVersion) as caught:
        load_snapshot(data)
    assert (caught.value.what, caught.value.found) == (str(data.snapshot), 4)


def test_newer_log_lines_are_rejected_and_kept(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    newer = line("event-1")
    newer.v = 3
    name = sealed(data, [newer])
    with pytest.raises(DataFromNewerVersion):
        fold(data)
    assert (data.log / name.file).exists()
    assert load_snapshot(data).generation == 0


def test_log_retention_deletes_folded_segments_by_age_of_sealing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1")])
    now = int(name.sealed_at.timestamp() * 1000)
    fold(data, now)
    for hours in range(24, 31 * 24, 24):
        fold(data, now + hours * 3_600_000)
    assert sealed_segments(data)
    fold(data, now + 31 * DAY_MS)
    assert not list(data.log.iterdir())
    assert load_snapshot(data).retention.segments == 1
    assert load_snapshot(data).totals.counted == 1
    assert sealed(data, [line("event-2")]).sequence == 2


JUMPS = {
    "ahead": (400 * DAY_MS,),
    "ahead, for two passes": (800 * DAY_MS, 800 * DAY_MS + 60_000),
    "ahead, for a day": (800 * DAY_MS, 801 * DAY_MS),
    "ahead, and a little back": (800 * DAY_MS, 800 * DAY_MS - 60_000, 800 * DAY_MS),
    "ahead, and back by some days": (800 * DAY_MS, 790 * DAY_MS, 790 * DAY_MS + 60_000),
    "behind": (-DAY_MS,),
    "behind, and ahead": (-30_000 * DAY_MS // 2, 60 * DAY_MS, 60 * DAY_MS + 60_000),
}


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
def test_nothing_is_deleted_because_the_clock_jumped(tmp_path: Path, jumps: tuple[int, ...]) -> None:
    data = data_directory(tmp_path)
    segment = sealed(data, [line("event-1")])
    now = int(segment.sealed_at.timestamp() * 1000)
    for passes in range(4):  # so that no kept snapshot is in the way of deleting it
        fold(data, now + passes)
    for jump_ms in jumps:
        fold(data, now + jump_ms)
        assert (data.log / segment.file).exists()
        assert load_snapshot(data).retention.skipped
        assert read_status(data, Settings(data_dir=tmp_path)).last_retention.skipped


def test_retention_resumes_once_the_clock_has_been_steady_for_two_days(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    segment = sealed(data, [line("event-1")])
    now = int(segment.sealed_at.timestamp() * 1000)
    for passes in range(4):
        fold(data, now + passes)
    back = now + 40 * DAY_MS  # the service stood still for so long
    for hours in (0, 24, 47):
        fold(data, back + hours * 3_600_000)
        assert (data.log / segment.file).exists()
    fold(data, back + 48 * 3_600_000)
    assert not (data.log / segment.file).exists()
    assert load_snapshot(data).retention.skipped is None
    assert load_snapshot(data).retention.clock_suspect_since is None


def test_unfolded_segment_is_never_deleted(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    fold(data, NOON + 60 * DAY_MS)
    sealed(data, [line("event-1")])
    later = sealed(data, [line("event-2")])
    fold(data, NOON + 60 * DAY_MS + 60_000, max_bytes=1)
    assert (data.log / later.file).exists()
    assert load_snapshot(data).totals.counted == 1


def expire(data: DataDirectory, now: int, **settings: Any) -> None:
    """Daily passes until the archive of everything so far is past a retention of ten
    days.
    """
    for days in range(1, 13):
        fold(data, now + days * DAY_MS, archive_retention_days=10, **settings)


@pytest.mark.long
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_visitors_of_a_day_are_kept_when_its_archive_is_deleted(tmp_path: Path, zone: str) -> None:
    data = data_directory(tmp_path)
    sealed(
        data,
        [
            line("event-1", visitor="ann", url="https://example.com/a"),
            line("event-2", visitor="ann", url="https://example.com/b"),
            line("event-3", NOON + 11 * 3_600_000 + 1_800_000, visitor="bob", url="https://example.com/a"),
            line("event-4", NOON + 13 * 3_600_000, visitor="cid", url="https://example.com/a", site="example.org"),
        ],
    )
    fold(data, NOON + DAY_MS)
    asked = {"from": "2026-11-21", "to": "2026-11-23", "tz": zone, "interval": "day"}
    one_day = {"from": "2026-11-22", "to": "2026-11-22", "tz": zone, "by": "path"}
    before = report(data, asked), report(data, one_day)
    expire(data, NOON + DAY_MS, timezone=zone)
    assert not list(data.archive.glob("*/*")) or all(not day.archive for day in load_snapshot(data).days.values())
    after = report(data, asked), report(data, one_day)
    assert after[0]["rows"] == before[0]["rows"]
    assert after[0]["total"] == {"events": 4, "visitors": None}
    assert "retention" in after[0]["reason"]
    assert after[1]["rows"] == before[1]["rows"]
    another = "Asia/Tokyo" if zone != "Asia/Tokyo" else "UTC"
    in_another_zone = report(data, {**asked, "tz": another})
    assert {row["visitors"] for row in in_another_zone["rows"] if row["events"]} == {None}
    filtered = report(data, {**asked, "filter": "path==/a"})
    assert filtered["total"] == {"events": None, "visitors": None}


def report(data: DataDirectory, asked: dict[str, str]) -> dict[str, Any]:
    query = parse(asked, datetime.fromtimestamp(NOON / 1000, UTC), "UTC")
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), query)


@pytest.mark.long
def test_imported_history_is_kept_as_long_as_fresh_history(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    old = epoch_ms("2015-05-17T10:00:00Z")
    sealed(data, [line("event-1", old, NOON)], "import")
    fold(data, NOON)
    for days in range(1, 9):
        fold(data, NOON + days * DAY_MS, archive_retention_days=10)
    assert load_snapshot(data).days[date(2015, 5, 17)].archive
    sealed(data, [line("event-1", old, NOON)], "import")
    fold(data, NOON + 9 * DAY_MS, archive_retention_days=10)
    assert load_snapshot(data).totals.counted == 1
    expire(data, NOON + 9 * DAY_MS)
    assert load_snapshot(data).days[date(2015, 5, 17)].expired


@pytest.mark.long
def test_counters_are_deleted_after_their_own_retention(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data, NOON)
    expire(data, NOON, counters_retention_days=11)
    assert load_snapshot(data).days == {}
    assert load_snapshot(data).totals.counted == 1


def test_pass_without_new_segments_opens_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data)
    monkeypatch.setattr("compactor.context.pass_database", Mock(side_effect=AssertionError))
    fold(data)
    assert load_snapshot(data).generation == 1
