"""Sums, means and quantiles of values equal a recount in plain Python, whatever the
values are and in whatever order they come.
"""

from __future__ import annotations

import math
import random
import struct
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ingest.collect.encode import Line
from reports.measures.values import EXPIRED, TOO_LARGE
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold, line, sealed

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SPAN = {"from": "2026-11-19", "to": "2026-11-22"}
VALUES = {"measures": "events,value_sum,value_avg,value_p50,value_p95"}
# Their sums differ in the last places when they are added up one after the other.
HARD = [0.1, 0.2, 0.3, -0.1, 1e16, 1.0, -1e16, 1e-300, 5e-324, 2.0**53 + 2, 1 / 3, 9.99, 9.99, 0.0, 7, -0.0]


def make_events() -> list[Line]:
    pick = random.Random(3)
    return [
        line(
            f"event-{number:05d}",
            NOON - pick.randrange(3 * DAY_MS),
            NOON,
            name=pick.choice(["order", "order", "pageview"]),
            url=f"https://example.com/{pick.choice('abcd')}" if number % 9 else None,
            value=pick.choice([None, *HARD, pick.random() * 100, float(pick.randrange(5))]),
            ua=GOOGLEBOT if number % 20 == 0 else None,
            country=pick.choice(["DE", "FR", None]),
        )
        for number in range(600)
    ]


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataDirectory, list[Line]]:
    data, events = data_directory(tmp_path_factory.mktemp("values")), make_events()
    for start in range(0, len(events), 250):
        sealed(data, events[start : start + 250])
        fold(data, NOON)
    return data, [event for event in events if event.ua != GOOGLEBOT]


def report(data: DataDirectory, **parameters: str) -> dict[str, Any]:
    query = parse({**SPAN, **VALUES, **parameters}, datetime.fromtimestamp(NOON / 1000, UTC), "UTC")
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), query)


def numbers(events: Iterable[Line]) -> dict[str, Any]:
    """What the values of events come to."""
    found = list(events)
    values = sorted(float(event.value) for event in found if event.value is not None)
    exact = sum(map(Fraction, values))
    return {
        "events": len(found),
        "value_sum": math.fsum(values),
        "value_avg": float(exact / len(values)) if values else None,
        "value_p50": _quantile(values, 50),
        "value_p95": _quantile(values, 95),
    }


def _quantile(values: list[float], percent: int) -> float | None:
    """The first in order that at least so many of a hundred do not exceed."""
    for place, value in enumerate(values, 1):
        if place * 100 >= len(values) * percent:
            return value
    return None


def path_of(event: Line) -> str | None:
    return event.url.removeprefix("https://example.com") if event.url else None


def test_total_is_exact(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    made = report(data)
    assert made["total"] == numbers(events)
    assert made["rows"] == [made["total"]]
    assert "reason" not in made


def test_rows_by_value_are_exact(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    grouped: dict[str | None, list[Line]] = defaultdict(list)
    for event in events:
        grouped[path_of(event)].append(event)
    made = report(data, by="path")
    assert {row.pop("value"): row for row in made["rows"]} == {value: numbers(of) for value, of in grouped.items()}
    assert made["total"] == numbers(events)


def test_rows_beyond_the_limit_are_in_the_total(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    whole, short = report(data, by="path"), report(data, by="path", limit="2")
    assert short["rows"] == whole["rows"][:2]
    assert short["total"] == whole["total"] == numbers(events)


@pytest.mark.parametrize("by", [None, "path"])
def test_days_are_exact(folded: tuple[DataDirectory, list[Line]], by: str | None) -> None:
    data, events = folded
    grouped: dict[tuple[str, str | None], list[Line]] = defaultdict(list)
    for event in events:
        grouped[event.time[:10], path_of(event) if by else None].append(event)
    made = report(data, interval="day", **({"by": by} if by else {}))
    found = {(row.pop("time")[:10], row.pop("value", None)): row for row in made["rows"]}
    assert found == {**{key: numbers([]) for key in found}, **{key: numbers(of) for key, of in grouped.items()}}


@pytest.mark.parametrize(
    ("filter_", "keep"),
    [
        ("value>0.3", lambda e: e.value is not None and e.value > 0.3),
        ("value<0", lambda e: e.value is not None and e.value < 0),
        ("value>0.1;value<9.99;country==DE|", lambda e: 0.1 < (e.value or 0) < 9.99 and e.country in ("DE", None)),
    ],
)
def test_only_events_with_such_a_value(folded: tuple[DataDirectory, list[Line]], filter_: str, keep: Any) -> None:
    data, events = folded
    assert report(data, filter=filter_)["total"] == numbers(filter(keep, events))


def test_measures_have_the_order_that_was_asked_for(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, _ = folded
    made = report(data, measures="value_p95,visitors,value_sum", by="path")
    assert list(made["total"]) == ["value_p95", "visitors", "value_sum"]
    assert list(made["rows"][0]) == ["value", "value_p95", "visitors", "value_sum"]


def test_no_value_is_a_sum_of_nothing(tmp_path: Path) -> None:
    made = report(data_directory(tmp_path))
    assert made["total"] == numbers([])
    assert "reason" not in made


def test_sum_that_is_no_number_is_null_with_the_reason(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{n}", NOON, value=1.7e308) for n in range(2)])
    fold(data, NOON)
    made = report(data)
    assert made["total"]["value_sum"] is None
    assert made["total"]["value_avg"] == made["total"]["value_p50"] == 1.7e308
    assert made["reason"] == TOO_LARGE


def test_values_of_an_expired_day_are_null_with_the_reason(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    old, new = NOON - 9 * DAY_MS, NOON
    sealed(data, [line("event-old", old, old, value=1.5)])
    fold(data, old)
    sealed(data, [line("event-new", new, new, value=2.5)])
    set_mark(data.last_pass, NOON - 60_000)  # as if the compactor had run since
    fold(data, NOON, archive_retention_days=3)
    made = report(data, **{"from": "2026-11-13"}, interval="day")
    rows = {row["time"][:10]: row for row in made["rows"]}
    assert rows["2026-11-13"] == rows["2026-11-13"] | {"events": 1, "value_sum": None, "value_p50": None}
    assert rows["2026-11-22"] == rows["2026-11-22"] | {"events": 1, "value_sum": 2.5, "value_p50": 2.5}
    assert rows["2026-11-14"] == rows["2026-11-14"] | {"events": 0, "value_sum": 0.0}
    assert made["total"]["events"] == 2
    assert made["total"]["value_sum"] is None
    assert made["reason"] == EXPIRED


def colliding_values(count: int) -> list[float]:
    """Numbers that share a place of DuckDB's hash tables, which have no seed."""
    factor, mask = pow(0xD6E8FEB86659FD93, -1, 1 << 64), (1 << 64) - 1
    found: list[float] = []
    for wanted in range(1, 2 * count):
        bits = (wanted << 32) | 0x12345
        for _ in range(2):
            bits = (bits ^ (bits >> 32)) * factor & mask
        (value,) = struct.unpack("<d", struct.pack("<Q", bits ^ (bits >> 32)))
        if math.isfinite(value) and abs(value) < 1e300 and len(found) < count:
            found.append(value)
    return found


def test_values_that_a_client_chose_cost_no_more_than_others(tmp_path: Path) -> None:
    """Grouped by the value alone, these would take a thousand times as long."""
    chosen = colliding_values(20_000)
    with connect(256 << 20, 1) as database:
        shared = {database.execute("SELECT hash(?::DOUBLE) & 4294967295", [each]).fetchall()[0] for each in chosen[:9]}
    assert len(shared) == 1
    pick = random.Random(1)
    spent: list[float] = []
    for number, values in enumerate((chosen, [pick.random() for _ in chosen])):
        data = data_directory(tmp_path / str(number))
        sealed(data, [line(f"event-{n:06d}", value=value) for n, value in enumerate(values)])
        fold(data, NOON)
        report(data)
        begun = time.process_time()
        made = report(data, by="path")
        spent.append(time.process_time() - begun)
        assert made["total"]["value_p50"] == _quantile(sorted(values), 50)
        assert made["total"]["value_sum"] == math.fsum(values)
    assert spent[0] < 4 * spent[1], spent
