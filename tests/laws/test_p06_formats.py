"""P6 across a change of format: the directory of an earlier release goes on, with late
events and copies on its days, and reports at any edge say what a recount of all its log
lines says. Before days are merged and after; where the archive has expired, too.
"""

from __future__ import annotations

import gzip
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from tests.builders.archive import HOUR_MS, assert_verified
from tests.builders.golden import SETTINGS
from tests.builders.logs import FIREFOX, NOON, fold, fold_all, line, sealed
from tests.builders.questions import DAY_MS, QUARTER_MS, ZONES, ask, instant
from tests.builders.recount import Answer, Counted, counted_events, recount

LATER = NOON + 8 * HOUR_MS
GOLDEN = Path(__file__).parents[1] / "data" / "golden"
# The first day that has its archive until the end of the test, and the day after the
# last.
KEPT, END = NOON - 5 * DAY_MS - 12 * HOUR_MS, NOON + 12 * HOUR_MS
DIMENSIONS = ("event", "site", "country", "browser", "utm_source")  # none of them is over the cap


RELEASES = [path.name.removesuffix(".tar.gz") for path in sorted(GOLDEN.glob("*.tar.gz"))]
NEWEST = "0.2.0"


@pytest.fixture(params=[each if each == NEWEST else pytest.param(each, marks=pytest.mark.long) for each in RELEASES])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> DataDirectory:
    subprocess.run(["tar", "-xzf", GOLDEN / f"{request.param}.tar.gz", "-C", tmp_path], check=True)  # noqa: S607  tarfile warns or not, by Python
    return DataDirectory(tmp_path / "data")


def test_days_before_and_after_the_change_are_those_of_a_recount(data: DataDirectory) -> None:
    old = list(log_lines(data))
    sealed(data, late_events(), "2")
    sealed(data, copies_of(old), "2")
    fold_all(data, LATER, **SETTINGS)
    lines = list(log_lines(data))
    counted = counted_events(lines, SETTINGS["sites"])
    assert load_snapshot(data).totals.counted == len(counted) > len(counted_events(old)) + 40
    assert_same(data, counted)
    for number in range(5):
        fold(data, LATER + 2 * HOUR_MS + DAY_MS + number, **SETTINGS)
    assert_same(data, counted)
    assert_verified(data, **SETTINGS)


def log_lines(data: DataDirectory) -> Iterator[dict[str, Any]]:
    """Of sealed segments, whether or not they are compressed."""
    for segment in sealed_segments(data):
        content = segment.path.read_bytes()
        text = gzip.decompress(content) if segment.path.name.endswith(".gz") else content
        yield from map(json.loads, text.splitlines())


def late_events() -> list[Line]:
    """On days of the earlier format, around every midnight."""
    made = []
    for number in range(60):
        moment = NOON - DAY_MS - number * 3 * QUARTER_MS + number % 3 - 1
        late = line(
            f"late-event-{number:03d}", moment, LATER, name="late", visitor=f"visitor-{number % 9}", country="AT"
        )
        late.v = 2
        made.append(late)
    return made


def copies_of(old: list[dict[str, Any]]) -> list[Line]:
    """Of events of the earlier format, as senders of today retry them."""
    recent = [each for each in old if each["time"] > "2026-11-21"][:40]
    made = []
    for number, each in enumerate(recent):
        copy = line(each["id"], NOON, LATER, site=each["site"], name="copy", ua=FIREFOX)
        copy.v, copy.sender = 2, ("key", None)[number % 2]
        made.append(copy)
    return made


def assert_same(data: DataDirectory, counted: list[Counted]) -> None:
    pick = random.Random(3)
    for question, answer in ask(data, edges(pick, KEPT, END)):
        assert answer == recount(counted, question), question
    # Counters are all that is left of the days before, so only their events are known.
    for question, answer in ask(data, edges(pick, KEPT - 8 * DAY_MS, END)):
        if "filter" not in question:
            assert events_of(answer) == events_of(recount(counted, question)), question


def events_of(answer: Answer) -> dict[object, int]:
    return {key: events for key, (events, _) in answer.rows.items()} | {"total": answer.total[0]}


def edges(pick: random.Random, start: int, end: int) -> Iterator[dict[str, str]]:
    """Days and quarters of an hour of each zone, by each dimension."""
    for zone in ZONES:
        for by in (None, *DIMENSIONS):
            first, last = sorted(pick.sample(range(start, end, QUARTER_MS), 2))
            asked = {"from": instant(first), "to": instant(last), "tz": zone, "bots": "include"}
            yield asked | ({"by": by} if by else {"interval": pick.choice(["hour", "day", "week", "none"])})
