"""The pass from outside: what is on disk before and after it, with damage, gaps, clocks
and other compactors.
"""

from __future__ import annotations

import gzip
import os
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from compactor.fold.verify_segments import verify_segment
from compactor.generations.commit import CommitLost
from compactor.generations.garbage import sweep_orphans
from compactor.lock import CompactorBusy, compactor_lock
from compactor.process import Compactor
from compactor.repair.verify_archive import check_log
from compactor.run_pass import run_pass
from ingest.collect.encode import encode_lines
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.segments.line import DataFromNewerVersion
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.status import Balance, read_status
from shared.timestamps import epoch_ms, utc_day
from tests.builders.archive import archived, assert_verified
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

DAY_MS = 86_400_000


def test_snapshot_names_every_part_and_every_segment(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    sealed(data, [line("event-2", NOON - DAY_MS)], "import")
    fold(data)
    snapshot = load_snapshot(data)
    assert snapshot.folded == {"0": 1, "import": 1}
    assert sorted(snapshot.days) == [utc_day(NOON - DAY_MS), utc_day(NOON)]
    assert_verified(data)


def test_bad_lines_of_a_damaged_segment_go_to_quarantine_and_good_ones_count(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line(f"event-{number}") for number in range(5)])
    path = data.log / name.file
    content = bytearray(path.read_bytes())
    lines = content.splitlines(keepends=True)
    position = len(lines[0]) + len(lines[1]) + 30
    content[position] ^= 1
    path.write_bytes(content)
    log = SilentLog()
    fold(data, log=log)
    assert [row[0] for row in archived(data)] == ["event-0", "event-1", "event-3", "event-4"]
    (kept,) = data.quarantine.iterdir()
    assert f'"offset":{len(lines[0]) + len(lines[1])}' in kept.read_text() and "CRC" in kept.read_text()
    assert "segment_damaged" in log.events()
    status = read_status(data, Settings(data_dir=tmp_path))
    assert status.balance == Balance(
        accepted=5, counted=4, duplicates=0, quarantined=1, erased=0, not_yet_folded=0, difference=0, conflicts=0
    )
    assert status.segments.damaged == 1


def test_segment_without_checksum_is_read_line_by_line(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1")])
    (data.log / name.checksum).unlink()
    fold(data)
    assert load_snapshot(data).totals.counted == 1
    assert load_snapshot(data).totals.damaged_segments == 1


def test_line_that_swallowed_its_neighbour_is_not_counted_and_the_neighbour_is(tmp_path: Path) -> None:
    """Two lines whose newline became a space still parse as the first of them in
    DuckDB.
    """
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1"), line("event-2"), line("event-3")])
    path = data.log / name.file
    path.write_bytes(path.read_bytes().replace(b"}\n{", b"} {", 1))
    fold(data)
    assert [row[0] for row in archived(data)] == ["event-2", "event-3"]
    assert load_snapshot(data).totals.quarantined == 1


def test_gzipped_segment_folds_as_the_plain_one(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1"), line("event-2")])
    plain = data.log / name.file
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    fold(data)
    assert load_snapshot(data).totals.counted == 2
    assert load_snapshot(data).totals.damaged_segments == 0
    assert_verified(data)


def test_cut_gzipped_segment_gives_what_it_still_holds(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line(f"event-{number:04d}", visitor=os.urandom(30).hex()) for number in range(500)])
    plain = data.log / name.file
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes())[:-2000])
    plain.unlink()
    fold(data)
    assert 0 < load_snapshot(data).totals.counted < 500
    assert load_snapshot(data).totals.quarantined >= 1


def test_missing_sequence_is_waited_for_and_folded_when_it_comes(tmp_path: Path) -> None:
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
    assert load_snapshot(data).waiting == {"0": (1,)}
    for file in (first.file, first.checksum):
        (away / file).rename(data.log / file)
    fold(data)
    assert load_snapshot(data).waiting == {}
    assert load_snapshot(data).totals.counted == 2


def test_only_one_compactor_at_a_time(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    refused = []

    def second() -> None:
        try:
            with compactor_lock(data):
                pass
        except CompactorBusy as error:
            refused.append(str(error))

    with compactor_lock(data):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1


def test_start_waits_for_a_lock_that_is_soon_free(tmp_path: Path) -> None:
    """As `foldlog compress` has it, most of the time."""
    data = data_directory(tmp_path)
    has_it, is_enough = threading.Event(), threading.Event()

    def compress() -> None:
        with compactor_lock(data):
            has_it.set()
            is_enough.wait(60)

    other = threading.Thread(target=compress)
    other.start()
    assert has_it.wait(60)
    threading.Timer(0.3, is_enough.set).start()
    Compactor(data, Settings(data_dir=data.root), SilentLog()).begin()
    other.join()


@pytest.mark.parametrize("thief", ["deletes the lock file", "commits first"])
def test_pass_that_lost_its_right_publishes_nothing(tmp_path: Path, thief: str) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    with compactor_lock(data) as lock:
        log = _ThiefLog(data, thief)
        _orphan(data)
        with pytest.raises(CommitLost):
            run_pass(data, Settings(data_dir=tmp_path), log, lock, NOON)
    assert load_snapshot(data).totals.counted == 0


def _orphan(data: DataDirectory) -> None:
    """An active segment without a writer: its recovery is when the thief strikes, in
    the middle of the pass.
    """
    data.active("7").write_bytes(encode_lines([line("event-7")]))


class _ThiefLog(SilentLog):
    def __init__(self, data: DataDirectory, thief: str) -> None:
        super().__init__()
        self._data, self._thief = data, thief

    def info(self, event: str, **fields: object) -> None:
        super().info(event, **fields)
        if event == "segment_recovered" and self._thief == "commits first":
            self._data.snapshot.write_bytes(encode_snapshot(Snapshot(generation=7)))
        elif event == "segment_recovered":
            self._data.compact_lock.unlink()


def test_parts_of_a_killed_pass_are_swept(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data)
    orphan = data.part("archive", date(2026, 11, 22), 99)
    orphan.write_bytes(b"half a part")
    foreign = orphan.with_name("notes.txt")
    foreign.write_text("mine")
    assert sweep_orphans(data, load_snapshot(data)) == 1
    assert foreign.exists()
    assert_verified(data)


def test_snapshot_that_a_killed_pass_had_not_published_is_swept(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    unpublished = data.root / ".snapshot.json.77.77.tmp"
    unpublished.write_text("{")
    sweep_orphans(data, load_snapshot(data))
    assert not unpublished.exists()


def test_last_three_snapshots_are_kept_with_their_parts(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(6):
        sealed(data, [line(f"event-{number}")])
        fold(data)
    kept = sorted(path.name for path in tmp_path.glob("snapshot*.json"))
    assert kept == ["snapshot.3.json", "snapshot.4.json", "snapshot.5.json", "snapshot.json"]
    counters = sorted(path.name for path in data.counters.glob("*/*"))
    assert counters == [f"g{generation:010d}.parquet" for generation in (3, 4, 5, 6)]


def test_newer_formats_are_refused_with_a_clear_message(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    data.snapshot.write_text('{"format": 3, "whatever": []}')
    with pytest.raises(DataFromNewerVersion) as caught:
        load_snapshot(data)
    assert (caught.value.what, caught.value.found) == (str(data.snapshot), 3)


def test_newer_log_lines_are_refused_and_stay(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    newer = line("event-1")
    newer.v = 2
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


def test_retention_goes_on_once_the_clock_has_been_steady_for_two_days(tmp_path: Path) -> None:
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
    assert load_snapshot(data).retention.doubted_since is None


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
def test_visitors_of_a_day_stay_when_its_archive_goes(tmp_path: Path, zone: str) -> None:
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
def test_counters_go_after_their_own_retention(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data, NOON)
    expire(data, NOON, counters_retention_days=11)
    assert load_snapshot(data).days == {}
    assert load_snapshot(data).totals.counted == 1


def test_damaged_first_snapshot_is_made_again_from_the_log(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-2")])
    fold(data)
    content = data.snapshot.read_bytes()
    data.snapshot.write_bytes(content[:-30])
    log = SilentLog()
    done = fold(data, log=log)
    assert "snapshot_damaged" in log.events()
    assert done.snapshot.generation > 1
    assert done.snapshot.totals.counted == 2
    assert (data.quarantine / "damaged-snapshot.1.json").exists()


def test_lost_events_are_named_by_their_segment_though_many_are_read_together(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    names = [sealed(data, [line(f"event-{number}")]) for number in range(4)]
    fold(data)
    snapshot = load_snapshot(data)
    checked = [verify_segment(data, segment, tmp_path) for segment in sealed_segments(data)]
    with connect(256 << 20, 1) as database:
        assert list(check_log(database, data, snapshot, checked, Settings())) == []
        data.log.joinpath(names[2].file).write_bytes(encode_lines([line("never-folded")]))
        checked = [verify_segment(data, segment, tmp_path) for segment in sealed_segments(data)]
        found = list(check_log(database, data, snapshot, checked, Settings()))
    assert [(each.where, each.problem) for each in found] == [
        (f"log/{names[2].file}", "1 of its events are not in the archive")
    ]


def test_pass_without_new_segments_opens_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1")])
    fold(data)
    monkeypatch.setattr("compactor.context.connect", Mock(side_effect=AssertionError))
    fold(data)
    assert load_snapshot(data).generation == 2
