"""A finished day gets one clustered part instead of several, and nothing else
changes.
"""

from __future__ import annotations

from datetime import date
from itertools import groupby
from pathlib import Path

import duckdb
import pytest

from compactor.generations import day_merge
from compactor.run_pass import Pass
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.timestamps import utc_day
from tests.builders.archive import archived, assert_verified, counters
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog

DAY_MS = 86_400_000
DAY = utc_day(NOON)


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
    fold(data, NOON + 2 * DAY_MS, log=log)
    assert (rows_of(data), rows_of(data, utc_day(NOON + DAY_MS))) == ([1, 1], [2])
    assert "day_merge_failed" in log.events()


def test_day_that_does_not_fit_into_memory_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = in_parts(tmp_path, 1, 1)

    def full(*_: object) -> None:
        raise duckdb.OutOfMemoryException("full")

    monkeypatch.setattr(day_merge, "write_part", full)
    assert next_day(data).snapshot.generation == 2
    assert rows_of(data) == [1, 1]
