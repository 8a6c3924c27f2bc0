"""A day whose texts share a hash is counted exactly, with strong numbers for these
texts alone, and little is counted in vain.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from shared.generations.counter_schema import COUNTED, SITE
from tests.builders.archive import assert_verified, counters
from tests.builders.collisions import colliding, random_texts
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.statements import Recorded, recorded

PATHS, EVENTS = colliding(300, "/article"), colliding(300)
FOUND = re.compile(r"INSERT INTO texts SELECT '(\w+)' AS dimension, (md5_number|\(CASE|CASE)")
FAST, FAST_OF_STRONG, STRONG = "CASE", "(CASE", "md5_number"
ALL = {SITE, *COUNTED}
# What a count looks at before it meets a text of the path.
UP_TO_PATH = {"site", "event", "path"}


def searches(statements: list[Recorded]) -> dict[str, set[str]]:
    """By kind of number, the columns whose texts were looked for."""
    found: dict[str, set[str]] = {FAST: set(), FAST_OF_STRONG: set(), STRONG: set()}
    for each in statements:
        if match := FOUND.match(each.text):
            found[match[2]].add(match[1])
    return found


@pytest.mark.parametrize(
    ("paths", "events", "expected"),
    [
        (random_texts(PATHS), random_texts(EVENTS, 0), {FAST: ALL, FAST_OF_STRONG: set(), STRONG: set()}),
        (PATHS, random_texts(EVENTS, 0), {FAST: UP_TO_PATH, FAST_OF_STRONG: ALL - {"path"}, STRONG: {"path"}}),
        (PATHS, EVENTS, {FAST: {"site", "event"}, FAST_OF_STRONG: UP_TO_PATH - {"event"}, STRONG: ALL}),
    ],
    ids=["random texts", "paths of one hash value", "paths and events"],
)
def test_columns_that_get_strong_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], events: list[str], expected: dict[str, set[str]]
) -> None:
    """Of a day whose dimensions are counted one by one."""
    monkeypatch.setattr("compactor.fold.recount.AT_ONCE_MAX", 0)
    data = data_directory(tmp_path)
    seen = list(zip(events, paths, strict=True))
    lines = [line(f"event-{n:06d}", name=name, url=f"https://example.com{path}") for n, (name, path) in enumerate(seen)]
    sealed(data, lines)
    fold(data)
    with recorded(monkeypatch) as statements:
        fold(data, NOON + 2 * 86_400_000)
    assert searches(statements) == expected
    counted = Counter((row[3], row[5]) for row in counters(data) if row[4] == "path/day")
    assert counted == Counter(seen)
    assert_verified(data)


@pytest.mark.parametrize(
    ("paths", "events"),
    [
        (random_texts(PATHS), ["pageview"]),
        pytest.param(random_texts(PATHS), EVENTS, marks=pytest.mark.long),
        pytest.param(PATHS, ["pageview"], marks=pytest.mark.long),
        (PATHS, EVENTS),
    ],
    ids=["random texts", "events of one hash value", "paths of one hash value", "both of one hash value"],
)
def test_rare_paths_are_other(tmp_path: Path, paths: list[str], events: list[str]) -> None:
    data = data_directory(tmp_path)
    seen = [*paths, *paths[:40], *paths[:40]]
    names = [events[paths.index(path) % len(events)] for path in seen]
    lines = [line(f"event-{n:06d}", name=names[n], url=f"https://example.com{path}") for n, path in enumerate(seen)]
    sealed(data, lines)
    fold(data, max_values=50)
    fold(data, NOON + 2 * 86_400_000, max_values=50)
    kept = {*paths[:40], "(other)"}
    counted: Counter[str] = Counter()
    for row in counters(data):
        counted[row[5]] += row[6] if row[4] == "path/day" else 0
    assert {path: counted[path] for path in counted if counted[path]} == {**dict.fromkeys(kept, 3), "(other)": 260}
    assert_verified(data, max_values=50)
