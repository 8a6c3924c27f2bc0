"""Counters of a day, and the cap on the values of a dimension."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from tests.builders.archive import HOUR_MS, assert_verified, counters
from tests.builders.logs import NOON, data_directory, fold, line, sealed


def fold_paths(data: DataDirectory, paths: list[str], max_values: int) -> None:
    sealed(data, [line(f"{path}-{number}", url=f"https://example.com{path}") for number, path in enumerate(paths)])
    fold(data, max_values=max_values)


def counted(data: DataDirectory, dimension: str) -> dict[str, int]:
    return {row[5]: row[6] for row in counters(data) if row[4] == dimension}


@pytest.mark.parametrize(
    ("name", "paths", "expected", "capped"),
    [
        ("fewer rows than the cap", ["/a"], {"/a": 1}, ()),
        ("as many values as the cap", ["/a", "/b", "/c"], {"/a": 1, "/b": 1, "/c": 1}, ()),
        (
            "one value more",
            ["/a", "/a", "/b", "/b", "/c", "/c", "/d"],
            {"/a": 2, "/b": 2, "/c": 2, "(other)": 1},
            ("path",),
        ),
        (
            "of equal values the first by name",
            ["/d", "/c", "/b", "/a"],
            {"/a": 1, "/b": 1, "/c": 1, "(other)": 1},
            ("path",),
        ),
    ],
)
def test_values_above_the_cap_are_counted_as_other(
    tmp_path: Path, name: str, paths: list[str], expected: dict[str, int], capped: tuple[str, ...]
) -> None:
    data = data_directory(tmp_path)
    fold_paths(data, paths, max_values=3)
    (day,) = load_snapshot(data).days.values()
    assert (counted(data, "path"), day.capped) == (expected, capped), name
    assert_verified(data, max_values=3)


def test_few_values_in_many_rows_are_not_capped(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{n}", NOON - n * HOUR_MS, url="https://example.com/a") for n in range(9)])
    fold(data, max_values=3)
    (day,) = load_snapshot(data).days.values()
    assert (len([row for row in counters(data) if row[4] == "path"]), day.capped) == (9, ())


def test_capped_event_names_are_other_in_every_dimension(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    names = ["pageview", "pageview", "signup", "signup", "click"]
    sealed(data, [line(f"event-{n}", name=name, url="https://example.com/a") for n, name in enumerate(names)])
    fold(data, max_values=2)
    (day,) = load_snapshot(data).days.values()
    assert day.capped == ("event",)
    assert {row[3] for row in counters(data)} == {"pageview", "signup", "(other)"}
    assert_verified(data, max_values=2)
