"""No flood that a client may send stops counting or makes it much dearer than honest
events of the same size, and what is counted afterwards is exact.

Costs are CPU seconds of this process, compared with those of the control in the same
run. The bound is generous: what these floods would do without a defence is quadratic.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from compactor.repair.verify import verify
from ingest.collect.encode import Line
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.builders import floods
from tests.builders.archive import assert_verified
from tests.builders.floods import DAY_MS
from tests.builders.logs import NOON, data_directory, fold, fold_all, line, sealed

RATIO = 10
SLACK_S = 1.0
TEXTS = 16_384
MEMORY = 256 << 20
DAY = {"from": "2026-11-22", "to": "2026-11-22", "bots": "include"}
REPORTS: tuple[dict[str, str], ...] = (
    {"by": "path"},
    {"by": "event", "interval": "hour"},
    {"by": "props.k"},
    {"by": "site", "filter": "path!=/other"},
    {},
)

Costs = dict[str, float]


@contextmanager
def cost(costs: Costs, of: str) -> Iterator[None]:
    began = time.process_time()
    yield
    costs[of] = time.process_time() - began


def cost_of_everything(root: Path, lines: list[Line]) -> Costs:
    """CPU seconds of what touches these lines, each in a directory that has them."""
    data, costs = data_directory(root), Costs()
    distinct = len({(each.site, each.id) for each in lines})
    half = len(lines) // 2
    with cost(costs, "the first pass"):
        sealed(data, lines[:half])
        fold(data, fold_memory=MEMORY)
    with cost(costs, "a pass that meets the first"):
        sealed(data, lines[half:])
        fold(data, fold_memory=MEMORY)
    with cost(costs, "the same lines again"):
        sealed(data, lines[:half])
        fold(data, fold_memory=MEMORY)
    with cost(costs, "the merge of the day"):
        fold(data, NOON + 2 * DAY_MS, fold_memory=MEMORY)
    assert load_snapshot(data).totals.counted == distinct
    for asked in REPORTS:
        with cost(costs, f"the report {asked}"):
            assert total_of(data, {**DAY, **asked}) == (distinct, len({each.visitor for each in lines}))
    with cost(costs, "verify"):
        findings = verify(data, Settings(data_dir=data.root, fold_memory=MEMORY), lambda _step: None).findings
    assert findings == []
    return costs


def total_of(data: DataDirectory, asked: dict[str, str]) -> tuple[int, int]:
    query = parse(asked, datetime(2026, 12, 1, tzinfo=UTC), "UTC")
    with connect(MEMORY, 1, data.root.with_name("spill")) as database:
        total = make_report(database, data, load_snapshot(data), query)["total"]
    return total["events"], total["visitors"]


def assert_not_dearer(attack: Costs, control: Costs) -> None:
    dear = {
        what: f"{attack[what]:.2f} s, the control {control[what]:.2f} s"
        for what in control
        if attack[what] > RATIO * control[what] + SLACK_S
    }
    assert dear == {}


# A session is numbered as a visitor is, and the addresses collide again below.
OF_THE_WHOLE = [pytest.param(place, marks=pytest.mark.whole) for place in ("session", "url")]


@pytest.mark.long
@pytest.mark.parametrize("place", ["visitor", *OF_THE_WHOLE, "props", "props value"])
def test_texts_of_one_hash_value(tmp_path: Path, place: str) -> None:
    flood = floods.colliding_texts(place, TEXTS)
    control = cost_of_everything(tmp_path / "control", flood.control)
    assert_not_dearer(cost_of_everything(tmp_path / "attack", flood.attack), control)


@pytest.mark.long
@pytest.mark.parametrize("place", ["url", "props", "props value"])
def test_texts_that_collide_under_any_prefix(tmp_path: Path, place: str) -> None:
    flood = floods.colliding_texts(place, TEXTS, under_any_prefix=True)
    control = cost_of_everything(tmp_path / "control", flood.control)
    assert_not_dearer(cost_of_everything(tmp_path / "attack", flood.attack), control)


@pytest.mark.parametrize(
    ("passes", "events", "memory"),
    [(10, 40, MEMORY), pytest.param(10, 1200, MEMORY, marks=pytest.mark.long)],
)
def test_fat_events_are_folded_and_merged(tmp_path: Path, passes: int, events: int, memory: int) -> None:
    data = data_directory(tmp_path)
    for number in range(passes):
        sealed(data, floods.fat(events, noon=NOON + number * 60_000).attack)
        fold_all(data, NOON + number * 60_000, fold_memory=memory)
    fold(data, NOON + 2 * DAY_MS, fold_memory=memory)
    assert load_snapshot(data).totals.counted == passes * events
    assert total_of(data, {**DAY, "by": "event"}) == (passes * events, 2)
    assert_verified(data, fold_memory=memory)


def test_time_at_the_end_of_all_times_stops_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [floods.at_the_end_of_time(), line("event-1")], "import")
    fold_all(data)
    sealed(data, [line("event-2"), line("event-1")])
    fold_all(data, NOON + 60_000)
    fold(data, NOON + 2 * DAY_MS)
    totals = load_snapshot(data).totals
    assert total_of(data, {**DAY, "by": "event"}) == (2, 1)
    assert totals.accounted == totals.lines == 4
    assert_verified(data)
