"""Counters of a day: deltas of passes, what the day merge makes of them, and the bound
on their rows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day
from tests.builders.archive import HOUR_MS, assert_verified, counters
from tests.builders.logs import NOON, data_directory, fold, line, sealed

DAY_LATER = NOON + 36 * HOUR_MS


def fold_paths(data: DataDirectory, paths: list[str], max_values: int) -> Day:
    """Fold a view of each path, and merge the day."""
    sealed(data, [line(f"{path}-{number}", url=f"https://example.com{path}") for number, path in enumerate(paths)])
    fold(data, max_values=max_values)
    fold(data, DAY_LATER, max_values=max_values)
    (day,) = load_snapshot(data).days.values()
    return day


def counted(data: DataDirectory, dimension: str) -> dict[str, int]:
    return {row[5]: row[6] for row in counters(data) if row[4] == dimension}


CAPPED: dict[str, tuple[list[str], dict[str, int], tuple[str, ...]]] = {
    "fewer values than the cap": (["/a"], {"/a": 1}, ()),
    "as many values as the cap": (["/a", "/b", "/c"], {"/a": 1, "/b": 1, "/c": 1}, ()),
    "one value more": (
        ["/a", "/a", "/b", "/b", "/c", "/c", "/d"],
        {"/a": 2, "/b": 2, "/c": 2, "(other)": 1},
        ("path",),
    ),
    "of equal values all or none": (["/d", "/c", "/b", "/a", "/a"], {"/a": 2, "(other)": 3}, ("path",)),
    "no value stands out": (["/d", "/c", "/b", "/a"], {"(other)": 4}, ("path",)),
}


@pytest.mark.parametrize(("paths", "expected", "capped"), CAPPED.values(), ids=CAPPED)
def test_day_merge_counts_values_above_the_cap_as_other(
    tmp_path: Path, paths: list[str], expected: dict[str, int], capped: tuple[str, ...]
) -> None:
    data = data_directory(tmp_path)
    day = fold_paths(data, paths, max_values=3)
    assert (counted(data, "path/day"), day.capped) == (expected, capped)
    assert_verified(data, max_values=3)


def test_few_values_in_many_rows_are_not_capped(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{n}", NOON - n * HOUR_MS, url="https://example.com/a") for n in range(9)])
    fold(data, max_values=3)
    fold(data, DAY_LATER, max_values=3)
    (day,) = load_snapshot(data).days.values()
    assert (counted(data, "path/day"), day.capped) == ({"/a": 9}, ())


def test_rare_combination_of_a_kept_value_has_event_other(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    names = ["pageview", "pageview", "signup", "signup", "click"]
    sealed(data, [line(f"event-{n}", name=name, url="https://example.com/a") for n, name in enumerate(names)])
    fold(data, max_values=2)
    fold(data, DAY_LATER, max_values=2)
    (day,) = load_snapshot(data).days.values()
    assert {"event", "path"} <= set(day.capped)
    assert {(row[3], row[6]) for row in counters(data) if row[4] == "event/day"} == {
        ("pageview", 2),
        ("signup", 2),
        ("(other)", 1),
    }
    assert {(row[3], row[5]) for row in counters(data) if row[4] == "path/day"} == {
        ("pageview", "/a"),
        ("signup", "/a"),
        ("(other)", "/a"),
    }
    assert_verified(data, max_values=2)


def test_dimension_with_too_many_rows_is_not_counted_until_the_day_merge(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    paths = [f"/{n}" for n in range(40)]
    for number in range(3):
        sealed(data, [line(f"{number}{path}-path", url=f"https://example.com{path}") for path in paths])
        fold(data, max_values=3)
    (day,) = load_snapshot(data).days.values()
    assert (day.uncounted, day.capped) == (("path",), ())
    assert_verified(data, max_values=3)

    fold(data, DAY_LATER, max_values=3)
    (day,) = load_snapshot(data).days.values()
    assert (day.uncounted, day.capped) == ((), ("path",))
    assert counted(data, "path/day") == {"(other)": 120}
    assert_verified(data, max_values=3)


def test_late_event_of_a_capped_day_is_decided_again(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    fold_paths(data, ["/a", "/a", "/b", "/b", "/c", "/c", "/d"], max_values=3)
    sealed(data, [line(f"late-{n}-event", NOON, DAY_LATER, url="https://example.com/d") for n in range(2)])
    fold(data, DAY_LATER, max_values=3)
    (day,) = load_snapshot(data).days.values()
    assert (day.uncounted, day.capped) == (("path",), ())

    fold(data, DAY_LATER + 25 * HOUR_MS, max_values=3)
    assert counted(data, "path/day") == {"/d": 3, "(other)": 6}
    assert_verified(data, max_values=3)


def test_pass_writes_what_it_adds(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(20):
        sealed(data, [line(f"event-{number}-{n}", url="https://example.com/a") for n in range(3)])
        fold(data)
    (day,) = load_snapshot(data).days.values()
    assert sum(row[6] for row in counters(data) if row[4] == "path/day") == 60
    assert len(day.counters) <= 2 * 8
    assert len(day.archive) == len(day.ids) <= 2 * 8
    assert_verified(data)


def test_day_without_an_archive_keeps_its_choice(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    fold_paths(data, ["/a", "/a", "/b", "/b", "/c", "/c", "/d"], max_values=3)
    for days in range(2, 12):
        week_later = NOON + days * 24 * HOUR_MS
        fold(data, week_later, max_values=3, archive_retention_days=7)
    (day,) = load_snapshot(data).days.values()
    assert day.expired and not day.archive
    sealed(data, [line(f"late-{n}-event", NOON, week_later, url=f"https://example.com/{'ad'[n]}") for n in range(2)])
    fold(data, week_later + 10, max_values=3, archive_retention_days=7)
    (day,) = load_snapshot(data).days.values()
    assert counted(data, "path/day") == {"/a": 3, "/b": 2, "/c": 2, "(other)": 2}
    assert (day.capped, day.uncounted) == (("path",), ())
