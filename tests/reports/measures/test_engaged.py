"""Engaged time equals a recount in plain Python: of the visitors of a row who have any,
whatever else was sent.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.collect.encode import Line
from reports.measures.values import EXPIRED
from reports.query import parse
from reports.query_error import QueryError
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold, line, sealed

DAY_MS = 86_400_000
SPAN = {"from": "2026-11-19", "to": "2026-11-22"}
ENGAGED = {"measures": "events,engaged_time,engaged_p50"}
# What the script sends, what it never does, and what would spoil a mean.
SECONDS: list[float | None] = [1, 2, 2, 3.5, 17, 0.0015, 86_400, None, 0, -5, 86_400.5, 1e300, 5e-324]


def make_events() -> list[Line]:
    pick = random.Random(7)
    return [
        line(
            f"event-{number:05d}",
            NOON - pick.randrange(3 * DAY_MS),
            NOON,
            name=pick.choice(["engaged", "engaged", "pageview"]),
            visitor=f"v-{pick.randrange(25)}",
            url=f"https://example.com/{pick.choice('abcd')}" if number % 9 else None,
            value=pick.choice(SECONDS),
            ua=GOOGLEBOT if number % 20 == 0 else None,
            country=pick.choice(["DE", "FR", None]),
        )
        for number in range(500)
    ]


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataDirectory, list[Line]]:
    data, events = data_directory(tmp_path_factory.mktemp("engaged")), make_events()
    for start in range(0, len(events), 250):
        sealed(data, events[start : start + 250])
        fold(data, NOON)
    return data, [event for event in events if event.ua != GOOGLEBOT]


def report(data: DataDirectory, **parameters: str) -> dict[str, Any]:
    query = parse({**SPAN, **ENGAGED, **parameters}, datetime.fromtimestamp(NOON / 1000, UTC), "UTC")
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), query)


def engaged(events: Iterable[Line]) -> dict[str, float | None]:
    """Mean and median over the visitors of the sums of their stretches."""
    sums: dict[str | None, int] = defaultdict(int)
    for event in events:
        if event.name == "engaged" and event.value is not None and 0 < event.value <= 86_400:
            sums[event.visitor] += math.floor(event.value * 1000)
    ordered = sorted(sums.values())
    if not ordered:
        return {"engaged_time": None, "engaged_p50": None}
    median = next(ms for place, ms in enumerate(ordered, 1) if place * 2 >= len(ordered))
    return {"engaged_time": sum(ordered) / (len(ordered) * 1000), "engaged_p50": median / 1000}


def numbers(events: list[Line], of: Callable[[Line], bool] = lambda _: True) -> dict[str, Any]:
    """A row: its events are those `of` the question, its engaged time that of all."""
    return {"events": sum(map(of, events)), **engaged(events)}


def is_view(event: Line) -> bool:
    return event.name == "pageview"


def path_of(event: Line) -> str | None:
    return event.url.removeprefix("https://example.com") if event.url else None


def grouped(events: list[Line], key: Callable[[Line], Any]) -> dict[Any, list[Line]]:
    found: dict[Any, list[Line]] = defaultdict(list)
    for event in events:
        found[key(event)].append(event)
    return found


def test_total_is_exact(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    made = report(data)
    assert made["total"] == numbers(events)
    assert made["rows"] == [made["total"]] and "reason" not in made


def test_views_of_each_page_have_their_time_beside_them(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    made = report(data, by="path", event="pageview")
    found = {row.pop("value"): row for row in made["rows"]}
    assert found == {path: numbers(of, is_view) for path, of in grouped(events, path_of).items()}
    assert made["total"] == numbers(events, is_view)


def test_rows_beyond_the_limit_are_in_the_total(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    whole, short = report(data, by="path"), report(data, by="path", limit="2")
    assert short["rows"] == whole["rows"][:2]
    assert short["total"] == numbers(events)


@pytest.mark.parametrize("by", [None, "path"])
def test_days_are_exact(folded: tuple[DataDirectory, list[Line]], by: str | None) -> None:
    data, events = folded
    expected = grouped(events, lambda event: (event.time[:10], path_of(event) if by else None))
    made = report(data, interval="day", **({"by": by} if by else {}))
    found = {(row.pop("time")[:10], row.pop("value", None)): row for row in made["rows"]}
    assert found == {**{key: numbers([]) for key in found}, **{key: numbers(of) for key, of in expected.items()}}


def test_filter_is_about_the_stretches(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    german = [event for event in events if event.country == "DE"]
    assert report(data, filter="country==DE")["total"] == numbers(german)


def test_nothing_sent_is_no_time(tmp_path: Path) -> None:
    made = report(data_directory(tmp_path))
    assert made["total"] == {"events": 0, "engaged_time": None, "engaged_p50": None}
    assert "reason" not in made


def test_time_of_an_expired_day_is_null_with_the_reason(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    old = NOON - 9 * DAY_MS
    sealed(data, [line("event-old", old, old, name="engaged", visitor="v", value=5)])
    fold(data, old)
    sealed(data, [line("event-new", NOON, NOON, name="engaged", visitor="v", value=7)])
    set_mark(data.last_pass, NOON - 60_000)  # as if the compactor had run since
    fold(data, NOON, archive_retention_days=3)
    made = report(data, **{"from": "2026-11-13"}, interval="day")
    rows = {row["time"][:10]: row["engaged_time"] for row in made["rows"]}
    assert (rows["2026-11-13"], rows["2026-11-22"]) == (None, 7.0)
    assert (made["total"]["engaged_time"], made["reason"]) == (None, EXPIRED)


def test_ends_of_visits_have_no_engaged_time() -> None:
    with pytest.raises(QueryError, match="engaged time"):
        parse({**SPAN, **ENGAGED, "by": "entry"}, datetime.fromtimestamp(NOON / 1000, UTC), "UTC")


def test_visits_stand_beside_engaged_time(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    made = report(data, measures="visits,engaged_time")
    assert made["total"]["visits"] > 0
    assert made["total"]["engaged_time"] == engaged(events)["engaged_time"]


def test_it_depends_on_which_events_are_of_one_visitor() -> None:
    """So hosts whose hashes change at other midnights cannot answer it together."""
    query = parse({"measures": "engaged_time"}, datetime.fromtimestamp(NOON / 1000, UTC), "UTC")
    assert query.tells_visitors and not query.counts_visitors
