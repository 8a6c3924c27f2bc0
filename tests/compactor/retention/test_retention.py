"""Retention by age and by size: what goes, what is held for a person, and that nothing
else is touched (P9).
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compactor.repair.rebuild import rebuild
from compactor.retention.command import plan_only, retain_now
from compactor.retention.plan import Item, KindPlan, LogFiles, RetentionPlan, plan_expiry
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory, SegmentName
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import (
    EMPTY_TIME,
    Day,
    Part,
    Retention,
    RetentionHold,
    Snapshot,
    decode_snapshot,
    encode_snapshot,
)
from shared.segments.sealed import Segment, file_sizes, sealed_segments
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import now_ms, rfc3339, utc_day
from tests.builders.archive import archived, assert_verified, counters
from tests.builders.history import DAY_MS, HOUR_MS, history, seal_at
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.server import environment, run_foldlog
from tests.builders.silent_log import SilentLog
from tests.faults.kill_points import MEMORY, Options, enumerate_points, run_points, spread, workers
from tests.faults.kill_run import CHANGES
from tests.faults.strace import KILLED, is_there

KINDS = ("log", "archive", "counters")

# --- the plan, as a pure function


class Given(msgspec.Struct, frozen=True):
    """A directory as ages in days of what is in it, each with its bytes; `unfolded` and
    `spare` are ages in the log.
    """

    log: dict[int, int] = {}
    archive: dict[int, int] = {}
    counters: dict[int, int] = {}
    unfolded: Sequence[int] = ()
    spare: Sequence[int] = ()  # folded, but not in a kept snapshot
    added: dict[int, int] = {}  # day → age of the last fold into it, where that is later


class Expected(msgspec.Struct, frozen=True):
    """Ages that go, by their reason; kinds that are held; bytes above the limit that
    stay.
    """

    age: dict[str, list[int]] = {}
    size: dict[str, list[int]] = {}
    held: dict[str, tuple[int, int]] = {}
    over: dict[str, int] = {}


MONTH = dict.fromkeys(range(30), 10)
TEN = dict.fromkeys(range(8, 18), 10)
ROWS: dict[str, tuple[dict[str, int], Given, Expected]] = {
    "nothing is old": ({}, Given(MONTH, MONTH, {800: 10}), Expected()),
    "log by age": ({}, Given({32: 10, 31: 10, 29: 10}), Expected({"log": [32, 31]})),
    "archive by age": ({}, Given(archive={762: 1, 761: 1, 760: 1}), Expected({"archive": [762, 761]})),
    "archive by the last fold into it": (
        {},
        Given(archive={900: 1, 800: 1}, added={900: 3}),
        Expected({"archive": [800]}),
    ),
    "counters by age, without an archive only": (
        {"counters_retention_days": 20},
        Given(archive={50: 1}, counters={40: 1, 21: 1, 20: 1}),
        Expected({"counters": [40, 21]}),
    ),
    "counters and archive of a day at once": (
        {"counters_retention_days": 20, "archive_retention_days": 10},
        Given(archive={21: 1, 12: 1, 9: 1}),
        Expected({"archive": [21, 12], "counters": [21]}),
    ),
    "counters are kept for ever by default": ({}, Given(counters={30_000: 1}), Expected()),
    "unfolded segment stays": ({}, Given({40: 10, 39: 10}, unfolded=[40]), Expected({"log": [39]})),
    "segment that a kept snapshot would miss stays": ({}, Given({40: 10, 39: 10}, spare=[39]), Expected({"log": [40]})),
    "log by size, the oldest": ({"log_max_bytes": 280}, Given(MONTH), Expected(size={"log": [29, 28]})),
    "log that just fits": ({"log_max_bytes": 300}, Given(MONTH), Expected()),
    "log by age, and by size what is then too much": (
        {"log_max_bytes": 25, "log_retention_days": 10},
        Given({12: 10, 9: 10, 3: 10, 1: 10}),
        Expected({"log": [12]}, {"log": [9]}),
    ),
    "log of which nothing more may go": (
        {"log_max_bytes": 15},
        Given({3: 10, 2: 10, 1: 10}, unfolded=[3], spare=[2]),
        Expected(size={"log": [1]}, over={"log": 5}),
    ),
    "archive by size, the oldest": (
        {"archive_max_bytes": 80},
        Given(archive=TEN),
        Expected(size={"archive": [17, 16]}),
    ),
    "archive by size, the oldest by the last fold into it": (
        {"archive_max_bytes": 15},
        Given(archive={900: 10, 20: 10}, added={900: 10}),
        Expected(size={"archive": [20]}),
    ),
    "archive of the last seven days stays": (
        {"archive_max_bytes": 5},
        Given(archive={9: 10, 8: 10, 7: 10, 0: 10, 700: 10}, added={700: 7}),
        Expected(size={"archive": [9, 8]}, over={"archive": 25}),
    ),
    "counters by size, without an archive only": (
        {"counters_max_bytes": 25},
        Given(archive={50: 1}, counters={40: 10, 30: 10, 20: 10}),
        Expected(size={"counters": [40]}, over={}),
    ),
    "counters that still have an archive stay": (
        {"counters_max_bytes": 1},
        Given(archive={2: 9, 1: 9}, counters={9: 5}),
        Expected(size={"counters": [9]}, over={"counters": 1}),
    ),
    "seven days are not held": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(9, 16), 1)),
        Expected({"archive": [15, 14, 13, 12, 11, 10, 9]}),
    ),
    "eight days and all of it are": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(9, 17), 1)),
        Expected(held={"archive": (8, 8)}),
    ),
    "eight days of sixteen are not held": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(1, 17), 1)),
        Expected({"archive": [16, 15, 14, 13, 12, 11, 10, 9]}),
    ),
    "eight days of fifteen are": (
        {"archive_retention_days": 8},
        Given(archive=dict.fromkeys(range(2, 17), 1)),
        Expected(held={"archive": (8, 15)}),
    ),
    "limit that takes most of the log is held": (
        {"log_max_bytes": 100},
        Given(MONTH),
        Expected(held={"log": (20, 30)}),
    ),
    "log of one day is not held, however much it is": (
        {"log_retention_days": 0},
        Given(MONTH, unfolded=range(1, 30)),
        Expected({"log": [0]}),
    ),
    "a kind that is held holds no other": (
        {"archive_retention_days": 8},
        Given({31: 10}, archive=dict.fromkeys(range(9, 20), 1)),
        Expected({"log": [31]}, held={"archive": (11, 11)}),
    ),
    "counters of an archive that is held stay": (
        {"archive_retention_days": 8, "counters_retention_days": 8},
        Given(archive=dict.fromkeys(range(9, 20), 1)),
        Expected(held={"archive": (11, 11)}),
    ),
}


def day(age: int) -> date:
    return utc_day(NOON) - timedelta(days=age)


def planned(given: Given, settings: Settings, *, is_confirmed: bool = False, after_ms: int = 60_000) -> RetentionPlan:
    """The plan of a pass over such a directory, a minute after the pass before."""
    ages = sorted(given.log, reverse=True)
    names = {age: SegmentName("0", number, at(age)) for number, age in enumerate(ages, 1)}
    segments = [Segment(name, Path(name.file)) for name in names.values()]
    sizes = {name.file: given.log[age] for age, name in names.items()}
    waiting = tuple(sorted(names[age].sequence for age in given.unfolded))
    missed = tuple(sorted({*waiting, *(names[age].sequence for age in given.spare)}))
    days = {
        day(age): Day(
            rfc3339(NOON - given.added.get(age, age) * DAY_MS),
            archive=(Part(1, 1, given.archive[age], ""),) if age in given.archive else (),
            counters=Part(1, 1, given.counters.get(age, 1), ""),
        )
        for age in {**given.archive, **given.counters}
    }
    before = Snapshot(generation=9, as_of=rfc3339(NOON), folded={"0": len(ages)}, waiting={"0": missed}, days=days)
    after = msgspec.structs.replace(before, waiting={"0": waiting})
    log = LogFiles(segments, sizes, [before])
    return plan_expiry(before, after, log, NOON + after_ms, settings, is_confirmed=is_confirmed)


def at(age: int) -> datetime:
    return datetime.fromtimestamp(NOON / 1000, UTC) - timedelta(days=age)


def ages(kind: KindPlan[Any], why: str) -> list[int]:
    items: tuple[Item[Any], ...] = kind.going
    return [(utc_day(NOON) - item.day).days for item in items if item.why == why]


@pytest.mark.parametrize(("settings", "given", "expected"), ROWS.values(), ids=ROWS)
def test_plan_takes_what_is_past_its_retention(settings: dict[str, Any], given: Given, expected: Expected) -> None:
    plan = planned(given, Settings(**settings))
    assert plan.skipped is None
    for why, by_kind in (("age", expected.age), ("size", expected.size)):
        assert {kind.kind: ages(kind, why) for kind in plan.kinds if ages(kind, why)} == by_kind
    run = plan.record(Retention())
    assert {kind: (held.days, held.kept_days) for kind, held in run.held.items()} == expected.held
    assert run.over_limit == expected.over


@pytest.mark.parametrize(("settings", "given", "expected"), ROWS.values(), ids=ROWS)
def test_plan_takes_nothing_while_the_clock_is_in_doubt(
    settings: dict[str, Any], given: Given, expected: Expected
) -> None:
    for after_ms in (-60_000, 2 * DAY_MS + 1):
        plan = planned(given, Settings(**settings), is_confirmed=True, after_ms=after_ms)
        assert plan.skipped
        assert not any(kind.past for kind in plan.kinds)
    del expected


def test_what_a_person_confirmed_is_not_held() -> None:
    given = Given(archive=dict.fromkeys(range(9, 30), 1))
    plan = planned(given, Settings(archive_retention_days=8), is_confirmed=True)
    assert len(plan.archive.going) == 21
    assert plan.record(Retention()).succeeded_at == plan.at


def test_steady_state_after_a_confirmed_deletion_is_not_held() -> None:
    """What is left of two years after lowering the retention to 30 days loses one day a
    day.
    """
    kept = dict.fromkeys(range(31), 1)
    assert ages(
        planned(Given(kept, kept), Settings(log_retention_days=29, archive_retention_days=29)).archive, "age"
    ) == [30]


# When the last run was, and the last success; then the run of this pass.
RECORDS: dict[str, tuple[Retention, dict[str, Any], str]] = {
    "of the first pass": (Retention(), {}, "now"),
    "skipped, after a success": (Retention(at="B", succeeded_at="A"), {"skipped": "the clock"}, "A"),
    "skipped, after an older release": (Retention(at="B"), {"skipped": "the clock"}, "B"),
    "held, after a success": (
        Retention(at="B", succeeded_at="A"),
        {"archive": KindPlan("archive", 9, is_held=True)},
        "A",
    ),
    "over a limit that cannot be met": (Retention(at="B"), {"log": KindPlan("log", 9, over_bytes=7)}, "now"),
}


@pytest.mark.parametrize(("last", "plan", "expected"), RECORDS.values(), ids=RECORDS)
def test_success_is_a_run_that_was_neither_skipped_nor_held(
    last: Retention, plan: dict[str, Any], expected: str
) -> None:
    if "archive" in plan:
        plan = {"archive": KindPlan("archive", 9, (Item(day(9), day(9), 1, "age", is_free=True),), is_held=True)}
    assert RetentionPlan("now", **plan).record(last).succeeded_at == expected


# Hours from now: the last run, the last success (None: a release that did not say), the
# jump of the clock.
STREAKS = {
    "success": (0, 0, None, 0),
    "held for three days": (0, 73, None, 73),
    "held, and then a jump": (0, 100, 40, 40),
    "after a standstill of a week": (0, 168, 0, 0),
    "a jump two days ago": (0, 168, 47, 47),
    "older release": (5, None, None, 0),
}


@pytest.mark.parametrize(("at_h", "success_h", "jump_h", "expected_h"), STREAKS.values(), ids=STREAKS)
def test_time_without_success_begins_anew_with_a_jump(
    at_h: int, success_h: int | None, jump_h: int | None, expected_h: int
) -> None:
    moments = [None if hours is None else rfc3339(NOON - hours * HOUR_MS) for hours in (at_h, success_h, jump_h)]
    run = Retention(at=moments[0] or EMPTY_TIME, succeeded_at=moments[1], doubted_since=moments[2])
    assert run.unsuccessful_s == expected_h * 3600


def test_snapshot_of_an_older_release_is_read() -> None:
    old = json.loads(encode_snapshot(Snapshot(generation=3, retention=Retention(at=rfc3339(NOON)))))
    for name in ("succeeded_at", "held", "over_limit"):
        del old["retention"][name]
    del old["forgotten"], old["sha256"]
    old["format"] = 1
    snapshot = decode_snapshot(json.dumps(old).encode("utf-8"), Path("snapshot.json"))
    assert (snapshot.retention.last_success, snapshot.retention.unsuccessful_s) == (rfc3339(NOON), 0)


# --- passes over real directories


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


def test_segment_that_is_there_plain_and_compressed_goes_as_a_whole(tmp_path: Path) -> None:
    data = history(tmp_path, 2, NOON)
    oldest, newest = (segment.path for segment in sealed_segments(data))
    oldest.with_name(f"{oldest.name}.gz").write_bytes(gzip.compress(oldest.read_bytes()))
    fold(data, NOON, log_max_bytes=sum(file_sizes(data).values()) - 1)
    assert {path.name.partition(".")[0] for path in data.log.iterdir()} == {newest.stem}
    assert_verified(data)


def test_size_never_takes_what_is_not_folded_or_what_a_kept_snapshot_would_miss(tmp_path: Path) -> None:
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
def test_archive_by_size_keeps_what_expiry_by_age_keeps(tmp_path: Path) -> None:
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
    """Visitors of each day that has any, by its age."""
    asked = {"from": day(20).isoformat(), "to": day(0).isoformat(), "interval": "day"}
    with connect(256 << 20, 1) as database:
        made = make_report(database, data, snapshot, parse(asked, datetime.fromtimestamp(NOON / 1000, UTC), "UTC"))
    found = {row["time"][:10]: row["visitors"] for row in made["rows"] if row["events"]}
    return {(utc_day(NOON) - date.fromisoformat(text)).days: count for text, count in found.items()}


@pytest.mark.long
def test_counters_over_their_limit_lose_days_that_have_no_archive(tmp_path: Path) -> None:
    data = history(tmp_path, 7, NOON)
    sealed(data, [line("fresh-0001", NOON)])
    fold(data, NOON)
    fold(data, NOON + 1000, counters_max_bytes=1)
    assert len(load_snapshot(data).days) == 8, "every day still has an archive"
    fold(data, NOON + 2000, archive_retention_days=7)
    kept = load_snapshot(data).days
    total = sum(each.counters.bytes for each in kept.values() if each.counters)
    fold(data, NOON + 3000, counters_max_bytes=total - 1)
    assert list(load_snapshot(data).days) == list(kept)[1:]
    assert load_snapshot(data).forgotten == {day(16): 3}
    assert_verified(data)
    fold(data, NOON + 4000, counters_max_bytes=1)
    assert list(load_snapshot(data).days) == [day(0)]
    assert load_snapshot(data).totals.counted == 7 * 3 + 1
    assert_verified(data)


def test_rebuild_does_not_bring_back_a_day_that_retention_took(tmp_path: Path) -> None:
    """The log still holds its events; they are no longer to be kept."""
    data = history(tmp_path, 4, NOON)
    fold(data, NOON, archive_retention_days=7, counters_retention_days=7)
    assert (load_snapshot(data).days, sum(load_snapshot(data).forgotten.values())) == ({}, 12)
    assert_verified(data)
    assert rebuild(data, Settings(data_dir=data.root), SilentLog(), NOON + 1000, dry_run=False) == []
    assert load_snapshot(data).days == {}
    assert load_snapshot(data).totals.counted == 12
    assert_verified(data)


def test_rebuild_takes_nothing_for_its_size(tmp_path: Path) -> None:
    data = history(tmp_path, 4, NOON)
    before = archived(data)
    settings = Settings(data_dir=data.root, archive_max_bytes=1, log_max_bytes=1, counters_max_bytes=1)
    rebuild(data, settings, SilentLog(), NOON, dry_run=False)
    assert archived(data) == before
    assert len(sealed_segments(data)) == 4
    assert_verified(data)


JUMPS = {
    "ahead, and it stays so": (800 * DAY_MS, 800 * DAY_MS + 60_000, 801 * DAY_MS),
    "ahead, and back": (800 * DAY_MS, 0, 60_000),
    "behind": (-DAY_MS, -DAY_MS + 60_000),
}


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
def test_clock_that_jumped_takes_nothing_for_age_or_size(tmp_path: Path, jumps: tuple[int, ...]) -> None:
    data = history(tmp_path, 4, NOON)
    limits: dict[str, Any] = {f"{kind}_max_bytes": 1 for kind in KINDS}
    limits |= {"log_retention_days": 0, "archive_retention_days": 7, "counters_retention_days": 1}
    before = files(data.log), archived(data), counters(data)
    for jump_ms in jumps:
        fold(data, NOON + jump_ms, **limits)
        assert load_snapshot(data).retention.skipped
        settings = Settings(data_dir=data.root, **limits)
        for plan in (
            plan_only(data, settings, NOON + jump_ms + 1000, is_confirmed=True),
            retain_now(data, settings, SilentLog(), partial(int, NOON + jump_ms + 1000), is_confirmed=True),
        ):
            assert plan.skipped
        assert (files(data.log), archived(data), counters(data)) == before
    assert_verified(data)


def files(directory: Path) -> dict[str, tuple[bytes, int]]:
    """The content of every file below a directory, and when it was changed."""
    found = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_mass_deletion_waits_for_a_person_and_goes_on_by_itself_afterwards(tmp_path: Path) -> None:
    data = history(tmp_path, 12, NOON)
    before = archived(data)
    log = SilentLog()
    for passes in range(3):
        done = fold(data, NOON + passes, archive_retention_days=7, log=log)
        assert archived(data) == before
    run = done.snapshot.retention
    assert run.held == {"archive": RetentionHold(12, 12, held_bytes(data), day(21), day(10))}
    assert (run.skipped, run.archive_days, run.at) == (None, 0, rfc3339(NOON + 2))
    assert run.succeeded_at == rfc3339(NOON - 10 * DAY_MS + 229 * HOUR_MS), "of the last pass before"
    (said,) = {json.dumps(fields) for event, fields in log.entries if event == "retention_on_hold"}
    assert "foldlog retain --confirm" in said

    settings = Settings(data_dir=data.root, archive_retention_days=7)
    plan = retain_now(data, settings, SilentLog(), lambda: NOON + 1000, is_confirmed=False)
    assert plan.archive.is_held and archived(data) == before
    plan = retain_now(data, settings, SilentLog(), lambda: NOON + 2000, is_confirmed=True)
    assert len(plan.archive.going) == 12 and archived(data) == []
    assert load_snapshot(data).retention.succeeded_at == plan.at
    for number in (0, 2, 4, 6, 8):  # days go by
        sealed(data, [line(f"later-{number}", NOON + number * DAY_MS)])
        done = fold(data, NOON + number * DAY_MS + 3000, archive_retention_days=7)
        assert (done.snapshot.retention.held, done.snapshot.retention.skipped) == ({}, None)
        assert done.snapshot.retention.archive_days == (1 if number >= 8 else 0)
    assert_verified(data)


def held_bytes(data: DataDirectory) -> int:
    return sum(part.bytes for kept in load_snapshot(data).days.values() for part in kept.archive)


def test_fresh_directory_has_nothing_to_retain(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    settings = Settings(data_dir=data.root)
    assert not any(kind.past for kind in plan_only(data, settings, NOON, is_confirmed=True).kinds)
    retain_now(data, settings, SilentLog(), lambda: NOON, is_confirmed=True)
    assert not data.snapshot.exists()
    assert fold(data, NOON).snapshot.retention.succeeded_at == rfc3339(NOON)


# --- the command


@pytest.mark.long
def test_dry_run_changes_no_byte_and_says_what_then_goes(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 12, now_ms())
    keep = {"archive_retention_days": 7, "log_retention_days": 16}
    environ = environment(data.root, **keep)
    before = files(data.root)
    said = [run_foldlog(["retain", "--dry-run", *more], environ) for more in ([], ["--confirm"])]
    assert [each.returncode for each in said] == [0, 0]
    assert files(data.root) == before
    without, with_held = (each.stdout for each in said)
    assert row_of(without, "log") == ("would go", "6 segments", "older than 16 days")
    assert row_of(without, "archive") == ("held", "12 days", "older than 7 days")
    assert "foldlog retain --confirm" in without
    assert row_of(with_held, "archive") == ("would go", "12 days", "older than 7 days")

    done = run_foldlog(["retain"], environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout == without.replace("would go", "deleted"), "the same, done"
    assert '"retention_on_hold"' in done.stderr
    assert (len(sealed_segments(data)), len(archived(data))) == (6, 36)
    done = run_foldlog(["retain", "--confirm"], environ)
    assert row_of(done.stdout, "archive") == ("deleted", "12 days", "older than 7 days")
    assert archived(data) == []
    assert run_foldlog(["retain"], environ).stdout == "nothing was deleted\n"
    assert_verified(data)


def row_of(said: str, kind: str) -> tuple[str, ...]:
    """What goes of a kind: the verb, how much, and why."""
    (found,) = re.findall(rf"^(.*): {kind}, (\d+ \w+) of \S+ to \S+, \S+ \w+, (.*)$", said, re.MULTILINE)
    return tuple(found)


def test_size_is_said_with_the_setting_and_how_much_it_is(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 2, now_ms())
    big = [line(f"big-{n:04d}", now_ms(), props={"note": "n" * 1900}) for n in range(700)]
    for _ in range(5):
        fold(data, now_ms())
    seal_at(data, big, now_ms() - DAY_MS)
    for _ in range(5):
        fold(data, now_ms())
    done = run_foldlog(["retain", "--dry-run"], environment(data.root, log_max_bytes="1 MiB"))
    assert row_of(done.stdout, "log")[:2] == ("would go", "3 segments")
    assert re.search(r"over FOLDLOG_LOG_MAX_BYTES by \d+\.\d KiB", done.stdout)


@pytest.mark.long
def test_clock_in_doubt_is_said_and_no_option_overrules_it(tmp_path: Path) -> None:
    data = history(tmp_path / "data", 3, now_ms())
    fold(data, now_ms() - 100 * DAY_MS)
    environ = environment(data.root, archive_retention_days=7)
    before = files(data.root)
    for more, code in (["--dry-run"], 0), (["--dry-run", "--confirm"], 0), ([], 75), (["--confirm"], 75):
        done = run_foldlog(["retain", *more], environ)
        assert (done.returncode, "clock" in done.stdout) == (code, True), done.stdout
    assert {name: content for name, content in files(data.root).items() if name != "compact.lock"} == {
        name: content for name, content in before.items() if name != "compact.lock"
    }


@pytest.mark.crash
@pytest.mark.component
@pytest.mark.timeout(120)
@pytest.mark.long
def test_kill_before_any_call_of_retain_leaves_what_verifies() -> None:
    if not is_there():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("strace is not installed")
    with workers(Options(), MEMORY) as pool:
        points = [point for point in enumerate_points(pool, Options(("retain",))) if point.call in CHANGES]
        assert {"link", "rename", "unlink", "fsync"} <= {point.call for point in points}
        ends = [point for point in points if point.call in {"link", "unlink"}]
        runs = run_points(pool, [*spread(ends, 4), *spread([point for point in points if point not in ends], 4)])
    assert [str(run) for run in runs if run.found] == []
    assert sum(run.ending == KILLED for run in runs) >= 6


# --- a running server
