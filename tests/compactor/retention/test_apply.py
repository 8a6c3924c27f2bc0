"""Retention in passes over real directories: expired files are deleted, nothing else is
touched (P9).
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from compactor.repair.rebuild import rebuild
from compactor.retention.command import preview_retention, retain_now
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.last_look import last_retention
from shared.generations.load import load_snapshot
from shared.generations.snapshot import RetentionHold, Snapshot
from shared.segments.sealed import file_sizes, sealed_segments
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import rfc3339, utc_day
from tests.builders.archive import archived, assert_verified, counters
from tests.builders.history import DAY_MS, HOUR_MS, files, history, seal_at
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

KINDS = ("log", "archive", "counters")


def day(age: int) -> date:
    return utc_day(NOON) - timedelta(days=age)


def test_log_over_its_limit_loses_its_oldest_folded_segments(tmp_path: Path) -> None:
    data = history(tmp_path, 6, NOON)
    names = [segment.name for segment in sealed_segments(data)]
    sizes = file_sizes(data)
    oldest = sum(sizes[name.file] + sizes[name.checksum] for name in names[:2])
    done = fold(data, NOON, log_max_bytes=sum(sizes.values()) - oldest)
    assert [segment.name for segment in sealed_segments(data)] == names[2:]
    assert not any((data.log / name.checksum).exists() for name in names[:2])
    assert done.snapshot.retention.segments == 2
    fold(data, NOON + 1000, log_max_bytes=sum(sizes.values()) - oldest)
    assert [segment.name for segment in sealed_segments(data)] == names[2:]
    assert_verified(data)


def test_segment_with_a_plain_and_a_compressed_file_loses_both(tmp_path: Path) -> None:
    data = history(tmp_path, 2, NOON)
    oldest, newest = (segment.path for segment in sealed_segments(data))
    oldest.with_name(f"{oldest.name}.gz").write_bytes(gzip.compress(oldest.read_bytes()))
    fold(data, NOON, log_max_bytes=sum(file_sizes(data).values()) - 1)
    assert {path.name.partition(".")[0] for path in data.log.iterdir()} == {newest.stem}
    assert_verified(data)


def test_limit_deletes_no_segment_that_is_unfolded_or_that_a_kept_snapshot_would_lack(tmp_path: Path) -> None:
    data = history(tmp_path, 4, NOON)
    fresh = [seal_at(data, [line(f"fresh-{number}", NOON)], NOON - number * DAY_MS).file for number in range(4)]
    log = SilentLog()
    for passes in range(1, 5):
        done = fold(data, NOON + passes, max_bytes=1, log_max_bytes=1, log=log)
        there = {segment.name.file for segment in sealed_segments(data)}
        assert set(fresh) <= there
    assert there == set(fresh)
    assert done.snapshot.retention.over_limit["log"] > 0
    assert "retention_over_limit" in log.events()
    assert any("FOLDLOG_LOG_MAX_BYTES" in text for text in read_status(data, Settings(data_dir=data.root)).warnings)
    for passes in range(5, 9):
        fold(data, NOON + passes, log_max_bytes=1)
    assert sealed_segments(data) == []
    assert load_snapshot(data).totals.counted == 4 * 3 + 4
    assert_verified(data)


@pytest.mark.long
def test_expiry_by_size_keeps_the_same_counters_as_expiry_by_age(tmp_path: Path) -> None:
    """The visitors of each day stay exact, and the counters are the same rows."""
    by_age, by_size = (history(tmp_path / name, 7, NOON) for name in ("age", "size"))
    total = sum(part.bytes for kept in load_snapshot(by_size).days.values() for part in kept.archive)
    fresh = [line("fresh-0001", NOON, visitor="ann")]
    limits: tuple[tuple[DataDirectory, dict[str, Any]], ...] = (
        (by_age, {"archive_retention_days": 7}),
        (by_size, {"archive_max_bytes": 1}),
    )
    for data, limit in limits:
        sealed(data, fresh)
        assert visitors(fold(data, NOON).snapshot, data) == {0: 1, **dict.fromkeys(range(10, 17), 2)}
        done = fold(data, NOON + 1000, **limit)
        assert done.snapshot.retention.archive_days == 7
        assert [kept.expired for kept in done.snapshot.days.values()] == [True] * 7 + [False]
        assert visitors(done.snapshot, data) == {0: 1, **dict.fromkeys(range(10, 17), 2)}
        assert_verified(data)
    assert counters(by_age) == counters(by_size)
    assert total > 0 and load_snapshot(by_size).retention.over_limit["archive"] > 0
    assert len(archived(by_size)) == 1


def visitors(snapshot: Snapshot, data: DataDirectory) -> dict[int, int]:
    """Visitors of each day that has any, by the age of the day."""
    query = {"from": day(20).isoformat(), "to": day(0).isoformat(), "interval": "day"}
    with connect(256 << 20, 1) as database:
        made = make_report(database, data, snapshot, parse(query, datetime.fromtimestamp(NOON / 1000, UTC), "UTC"))
    found = {row["time"][:10]: row["visitors"] for row in made["rows"] if row["events"]}
    return {(utc_day(NOON) - date.fromisoformat(text)).days: count for text, count in found.items()}


@pytest.mark.long
def test_counters_over_their_limit_lose_days_without_an_archive(tmp_path: Path) -> None:
    data = history(tmp_path, 7, NOON)
    sealed(data, [line("fresh-0001", NOON)])
    fold(data, NOON)
    fold(data, NOON + 1000, counters_max_bytes=1)
    assert len(load_snapshot(data).days) == 8
    fold(data, NOON + 2000, archive_retention_days=7)
    kept = load_snapshot(data).days
    total = sum(part.bytes for each in kept.values() for part in each.counters)
    fold(data, NOON + 3000, counters_max_bytes=total - 1)
    assert list(load_snapshot(data).days) == list(kept)[1:]
    assert load_snapshot(data).dropped_days == {day(16): 3}
    assert_verified(data)
    fold(data, NOON + 4000, counters_max_bytes=1)
    assert list(load_snapshot(data).days) == [day(0)]
    assert load_snapshot(data).totals.counted == 7 * 3 + 1
    assert_verified(data)


def test_rebuild_does_not_restore_a_deleted_day(tmp_path: Path) -> None:
    """The log still has its events, but their retention is over."""
    data = history(tmp_path, 4, NOON)
    fold(data, NOON, archive_retention_days=7, counters_retention_days=7)
    assert (load_snapshot(data).days, sum(load_snapshot(data).dropped_days.values())) == ({}, 12)
    assert_verified(data)
    assert rebuild(data, Settings(data_dir=data.root), SilentLog(), NOON + 1000, dry_run=False) == []
    assert load_snapshot(data).days == {}
    assert load_snapshot(data).totals.counted == 12
    assert_verified(data)


def test_rebuild_deletes_nothing_for_its_size(tmp_path: Path) -> None:
    data = history(tmp_path, 4, NOON)
    before = archived(data)
    settings = Settings(data_dir=data.root, archive_max_bytes=1, log_max_bytes=1, counters_max_bytes=1)
    rebuild(data, settings, SilentLog(), NOON, dry_run=False)
    assert archived(data) == before
    assert len(sealed_segments(data)) == 4
    assert_verified(data)


JUMPS = {
    "ahead, and remains ahead": (800 * DAY_MS, 800 * DAY_MS + 60_000, 801 * DAY_MS),
    "ahead, and back": (800 * DAY_MS, 0, 60_000),
    "behind": (-DAY_MS, -DAY_MS + 60_000),
}


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
def test_clock_that_jumped_deletes_nothing_for_age_or_size(tmp_path: Path, jumps: tuple[int, ...]) -> None:
    data = history(tmp_path, 4, NOON)
    limits: dict[str, Any] = {f"{kind}_max_bytes": 1 for kind in KINDS}
    limits |= {"log_retention_days": 0, "archive_retention_days": 7, "counters_retention_days": 1}
    before = files(data.log), archived(data), counters(data)
    for jump_ms in jumps:
        fold(data, NOON + jump_ms, **limits)
        assert load_snapshot(data).retention.skipped
        settings = Settings(data_dir=data.root, **limits)
        for plan in (
            preview_retention(data, settings, NOON + jump_ms + 1000, confirmed=True),
            retain_now(data, settings, SilentLog(), partial(int, NOON + jump_ms + 1000), confirmed=True),
        ):
            assert plan.skipped
        assert (files(data.log), archived(data), counters(data)) == before
    assert_verified(data)


@pytest.mark.long
def test_mass_deletion_waits_for_confirmation_and_later_runs_do_not(tmp_path: Path) -> None:
    data = history(tmp_path, 12, NOON)
    before = archived(data)
    log = SilentLog()
    for passes in range(3):
        done = fold(data, NOON + passes, archive_retention_days=7, log=log)
        assert archived(data) == before
    run = last_retention(data, done.snapshot)
    assert run.on_hold == {"archive": RetentionHold(12, 12, archive_bytes(data), day(21), day(10))}
    assert (run.skipped, run.archive_days, run.at) == (None, 0, rfc3339(NOON + 2))
    assert run.succeeded_at == rfc3339(NOON - 10 * DAY_MS + 229 * HOUR_MS)
    (logged,) = {json.dumps(fields) for event, fields in log.entries if event == "retention_on_hold"}
    assert "foldlog retain --confirm" in logged

    settings = Settings(data_dir=data.root, archive_retention_days=7)
    plan = retain_now(data, settings, SilentLog(), lambda: NOON + 1000, confirmed=False)
    assert plan.archive.on_hold and archived(data) == before
    plan = retain_now(data, settings, SilentLog(), lambda: NOON + 2000, confirmed=True)
    assert len(plan.archive.to_delete) == 12 and archived(data) == []
    assert load_snapshot(data).retention.succeeded_at == plan.at
    for number in (0, 2, 4, 6, 8):
        sealed(data, [line(f"later-{number}", NOON + number * DAY_MS)])
        done = fold(data, NOON + number * DAY_MS + 3000, archive_retention_days=7)
        assert (done.snapshot.retention.on_hold, done.snapshot.retention.skipped) == ({}, None)
        assert done.snapshot.retention.archive_days == (1 if number >= 8 else 0)
    assert_verified(data)


def archive_bytes(data: DataDirectory) -> int:
    return sum(part.bytes for kept in load_snapshot(data).days.values() for part in kept.archive)


def test_new_directory_has_nothing_to_delete(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    settings = Settings(data_dir=data.root)
    assert not any(kind.expired for kind in preview_retention(data, settings, NOON, confirmed=True).kinds)
    retain_now(data, settings, SilentLog(), lambda: NOON, confirmed=True)
    assert not data.snapshot.exists()
    assert last_retention(data, fold(data, NOON).snapshot).succeeded_at == rfc3339(NOON)
