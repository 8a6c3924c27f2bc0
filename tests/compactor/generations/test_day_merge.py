"""A finished day gets one clustered part instead of several, and nothing else
changes.
"""

from __future__ import annotations

import errno
import time
from datetime import date
from itertools import groupby
from pathlib import Path

import duckdb
import pytest

from compactor.context import PassContext
from compactor.fold_round import Round
from compactor.lock import compactor_lock
from compactor.run_pass import Pass
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import FailedMerge
from shared.settings import Settings
from shared.status import read_status
from shared.timestamps import utc_day
from tests.builders.archive import archived, assert_verified, counters
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
DAY = utc_day(NOON)
LIMIT_S = 5.0  # a busy machine folds some lines in it


def in_parts(root: Path, *sizes: int) -> DataDirectory:
    """A day whose archive parts have these numbers of events, not in the order of their
    visitors.
    """
    data = data_directory(root)
    for part, size in enumerate(sizes):
        sealed(
            data,
            [
                line(f"event-{part}-{n}", NOON - n, visitor=f"visitor-{n % 2}", country=("FR", "DE", None)[n % 3])
                for n in range(size)
            ],
        )
        fold(data)
    return data


def rows_of(data: DataDirectory, day: date = DAY) -> list[int]:
    return [part.rows for part in load_snapshot(data).days[day].archive]


def next_day(data: DataDirectory) -> Pass:
    return fold(data, NOON + DAY_MS)


def test_finished_day_becomes_one_clustered_part(tmp_path: Path) -> None:
    data = in_parts(tmp_path, 7, 5)
    before, events, counted = load_snapshot(data).days[DAY], archived(data), counters(data)
    fold(data, NOON + DAY_MS - 1)
    assert rows_of(data) == [7, 5]
    next_day(data)
    after = load_snapshot(data).days[DAY]
    assert rows_of(data) == [12] and archived(data) == events
    assert (counters(data), after.added_at, after.merged) == (counted, before.added_at, True)
    (part,) = after.archive
    path = data.part("archive", DAY, part.generation)
    found = duckdb.execute(
        "SELECT country, visitor FROM read_parquet($1) ORDER BY file_row_number", [str(path)]
    ).fetchall()
    assert sorted(str(country) for country, _ in groupby(found, lambda row: row[0])) == ["DE", "FR", "None"]
    assert len(list(groupby(found))) == len(set(found)) == 6
    assert_verified(data)


def test_day_before_1970_is_merged_like_any_other(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(2):
        sealed(data, [line(f"event-{number}", -1500)])
        fold(data)
    next_day(data)
    assert rows_of(data, date(1969, 12, 31)) == [2]


@pytest.mark.parametrize(("sizes", "left"), [([1] * 8, [8]), ([2, 2], [4])])
def test_times_stay_milliseconds_when_parts_are_written_again(
    tmp_path: Path, sizes: list[int], left: list[int]
) -> None:
    data = in_parts(tmp_path, *sizes)
    next_day(data)
    assert rows_of(data) == left
    path = str(data.part("archive", DAY, load_snapshot(data).days[DAY].archive[0].generation))
    units = duckdb.execute(
        "SELECT converted_type FROM parquet_schema($1) WHERE name IN ('time', 'received')", [path]
    ).fetchall()
    assert units == [("TIMESTAMP_MILLIS",)] * 2


def test_day_with_nearly_all_events_in_one_part_is_left(tmp_path: Path) -> None:
    data = in_parts(tmp_path, 9, 1)
    next_day(data)
    assert rows_of(data) == [9, 1]


def test_one_day_a_pass_and_none_that_the_pass_adds_to(tmp_path: Path) -> None:
    data = in_parts(tmp_path, 1, 1)
    for _ in range(2):
        sealed(data, [line(f"older-{load_snapshot(data).generation}", NOON - DAY_MS)])
        fold(data)
    sealed(data, [line("late", NOON - DAY_MS + 1)])
    next_day(data)
    assert (rows_of(data, utc_day(NOON - DAY_MS)), rows_of(data)) == ([1, 1, 1], [2])
    fold(data, NOON + 2 * DAY_MS)
    assert rows_of(data, utc_day(NOON - DAY_MS)) == [3]
    assert_verified(data)


def test_damaged_day_does_not_stop_the_pass_nor_the_next_day(tmp_path: Path) -> None:
    data = in_parts(tmp_path, 1, 1)
    for number in range(2):
        sealed(data, [line(f"newer-{number}", NOON + DAY_MS)])
        fold(data)
    damaged = data.part("archive", DAY, load_snapshot(data).days[DAY].archive[0].generation)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    log = SilentLog()
    for passes in range(2):
        fold(data, NOON + 2 * DAY_MS + passes, log=log)
    assert (rows_of(data), rows_of(data, utc_day(NOON + DAY_MS))) == ([1, 1], [2])
    assert log.events().count("day_merge_failed") == 1


def failure(data: DataDirectory) -> FailedMerge | None:
    return load_snapshot(data).days[DAY].merge_failure


def failing(patch: pytest.MonkeyPatch, error: Exception | None = None) -> list[int]:
    """From here on each merge fails; the list has an item for each."""
    tries: list[int] = []

    def fail(*_: object) -> None:
        tries.append(1)
        raise error or duckdb.OutOfMemoryException("full")

    patch.setattr("compactor.run_pass.merge_step", fail)
    return tries


def test_day_whose_merge_fails_is_tried_three_times_later_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = in_parts(tmp_path, 1, 1)
    before = counters(data)
    tries, began = failing(monkeypatch), NOON + 2 * DAY_MS
    for after_s, so_far in ((0, 1), (599, 1), (601, 2), (4200, 2), (4202, 3), (12_000, 3)):
        fold(data, began + after_s * 1000)
        assert len(tries) == so_far, after_s
    found = failure(data)
    assert found is not None and (found.tries, found.given_up) == (3, True)
    assert found.reason == "OutOfMemoryException: full"
    assert (rows_of(data), counters(data)) == ([1, 1], before)
    generation = load_snapshot(data).generation
    settings = Settings(data_dir=data.root)
    assert "OutOfMemoryException" in "".join(read_status(data, settings).warnings)
    fold(data, began + 12_001_000)
    assert load_snapshot(data).generation == generation  # it publishes nothing for it


def given_up(root: Path, patch: pytest.MonkeyPatch) -> DataDirectory:
    data = in_parts(root, 1, 1)
    with patch.context() as failed:
        failing(failed)
        for hours in range(3):
            fold(data, NOON + 2 * DAY_MS + hours * 2 * HOUR_MS)
    assert load_snapshot(data).unmerged_days() == [DAY]
    return data


def test_day_that_was_given_up_is_merged_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = given_up(tmp_path, monkeypatch)
    with compactor_lock(data) as lock:
        later = NOON + 3 * DAY_MS
        work = Round(data, Settings(data_dir=data.root), SilentLog(), lock, clock=lambda: later)
        work.run()
        assert rows_of(data) == [1, 1]
        work.run(retry=True)
    assert (rows_of(data), failure(data)) == ([2], None)
    assert_verified(data)


def test_day_that_was_given_up_is_tried_by_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = given_up(tmp_path, monkeypatch)
    monkeypatch.setattr("compactor.generations.merge_failure.build", lambda: "99.0")
    fold(data, NOON + 3 * DAY_MS)
    assert (rows_of(data), failure(data)) == ([2], None)


def test_new_events_of_a_day_that_was_given_up_have_it_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = given_up(tmp_path, monkeypatch)
    sealed(data, [line("late", NOON + 1)])
    fold(data, NOON + 3 * DAY_MS)
    assert failure(data) is None
    fold(data, NOON + 5 * DAY_MS)
    assert sum(rows_of(data)) == 3 and load_snapshot(data).days[DAY].merged


def test_full_disk_during_a_merge_stops_no_fold_and_is_never_the_last_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = in_parts(tmp_path, 1, 1)
    with monkeypatch.context() as patch:
        failing(patch, OSError(errno.ENOSPC, "No space left on device"))
        for hours in range(5):
            sealed(data, [line(f"new-{hours}", NOON + 2 * DAY_MS)])
            fold(data, NOON + 2 * DAY_MS + hours * 2 * HOUR_MS)
    found = failure(data)
    assert found is not None and (found.tries, found.given_up) == (5, False)
    assert load_snapshot(data).totals.counted == 7
    fold(data, NOON + 3 * DAY_MS)
    assert (rows_of(data), failure(data)) == ([2], None)


def test_merge_that_does_not_end_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the pass is over while it merges: what it folds is folded without."""
    data = in_parts(tmp_path, 1, 1)
    sealed(data, [line("new", NOON + 2 * DAY_MS)])

    limits = iter([LIMIT_S])  # of the pass that merges; those after it have time

    def endless(context: PassContext, *_: object) -> None:
        time.sleep(LIMIT_S)
        context.database.execute("SELECT sum(a.range) FROM range(10000000) a, range(10000000) b")

    with monkeypatch.context() as patch, compactor_lock(data) as lock:
        patch.setattr("compactor.run_pass.merge_step", endless)
        patch.setattr("compactor.run_pass.limit_s", lambda _: next(limits, 300.0))
        Round(data, Settings(data_dir=data.root), SilentLog(), lock, clock=lambda: NOON + 2 * DAY_MS).run()
    found = failure(data)
    assert found is not None and found.tries == 1 and "PassTooLong" in found.reason
    assert load_snapshot(data).totals.counted == 3 and load_snapshot(data).set_aside == ()
