"""The last minutes equal a recount in plain Python, and cost what happened in them."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from compactor.generations.part_files import COPY_OPTIONS
from ingest.collect.encode import Line
from reports.kinds import parse_question
from reports.query_error import QueryError
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.kinds import NOW, ask, at, is_selected, value_of
from tests.builders.logs import FIREFOX, GOOGLEBOT, NOON, data_directory, fold, line, sealed

MINUTE_MS = 60_000
MIDNIGHT = NOON + 12 * 3_600_000
NAMES = ("events_5", "visitors_5", "events_30", "visitors_30")


def some_events(until_ms: int, seed: int, count: int = 400) -> list[Line]:
    """Of the hour before an instant, and of the minutes after it."""
    pick = random.Random(seed)
    events = []
    for number in range(count):
        path = pick.choice(["/", "/a", "/b", f"/{number}", None])
        time = (
            until_ms + pick.choice([-30, -5, 0]) * MINUTE_MS
            if number < 9
            else until_ms - pick.randrange(-4, 60) * 47_123
        )
        events.append(
            line(
                f"event-{seed}-{number}",
                time,
                name=pick.choice(["pageview", "signup"]),
                site=pick.choice(["example.com", "example.org"]),
                visitor=pick.choice([f"visitor-{pick.randrange(50)}", None]),
                url=f"https://example.com{path}{pick.choice(['', '?utm_source=news'])}" if path else None,
                referrer=pick.choice([None, "https://other.net/"]),
                ua=pick.choice([FIREFOX, FIREFOX, GOOGLEBOT]),
            )
        )
    return events


def recount(events: list[Line], until: datetime, limit: int, **asked: str) -> dict[str, Any]:
    """The numbers of each dimension and value, and of all; the first `limit`."""
    seen: dict[tuple[str, str | None], list[Line]] = defaultdict(list)
    for event in events:
        if until - timedelta(minutes=30) <= at(event) < until and is_selected(event, **asked):
            for by in ("site", "path", "source"):
                seen[by, value_of(event, by)].append(event)
            seen["total", None].append(event)
    counted = {key: _numbers(found, until) for key, found in seen.items()}
    rows = []
    for by in ("site", "path", "source"):
        of = [(value, found) for (name, value), found in counted.items() if name == by]
        of.sort(key=lambda each: (-each[1][3], -each[1][2], each[0] is None, each[0] or ""))
        rows += [{"by": by, "value": value, **dict(zip(NAMES, found, strict=True))} for value, found in of[:limit]]
    return {"rows": rows, "total": dict(zip(NAMES, counted.get(("total", None), (0, 0, 0, 0)), strict=True))}


def _numbers(events: list[Line], until: datetime) -> tuple[int, int, int, int]:
    last = [event for event in events if at(event) >= until - timedelta(minutes=5)]
    return len(last), _visitors(last), len(events), _visitors(events)


def _visitors(events: list[Line]) -> int:
    return len({event.visitor for event in events} - {None})


@pytest.fixture(scope="module", params=[NOON, MIDNIGHT + 7 * MINUTE_MS], ids=["noon", "after midnight"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DataDirectory, list[Line], int]:
    data, until_ms = data_directory(tmp_path_factory.mktemp("live")), request.param
    events = some_events(until_ms, 3)
    for start in range(0, len(events), 200):
        sealed(data, events[start : start + 200])
        fold(data, until_ms + 10 * MINUTE_MS)
    return data, events, until_ms


QUESTIONS: dict[str, dict[str, str]] = {
    "all": {},
    "one site": {"site": "example.org"},
    "with bots": {"bots": "include"},
    "only bots": {"bots": "only", "limit": "3"},
    "many values": {"limit": "100"},
    "a site that is not there": {"site": "absent.example"},
}


@pytest.mark.parametrize("asked", QUESTIONS.values(), ids=QUESTIONS)
def test_last_minutes_equal_a_recount(made: tuple[DataDirectory, list[Line], int], asked: dict[str, str]) -> None:
    data, events, until_ms = made
    until = datetime.fromtimestamp(until_ms / 1000, NOW.tzinfo)
    report = ask(data, "live", at=until.isoformat(), **asked)
    limit = int(asked.get("limit", "10"))
    expected = recount(events, until, limit, **{name: text for name, text in asked.items() if name != "limit"})
    assert {name: report[name] for name in ("rows", "total")} == expected
    assert (report["kind"], report["at"]) == ("live", until.isoformat(timespec="milliseconds"))


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"limit": "101"}, "limit"),
        ({"from": "2026-11-22"}, "from"),
        ({"filter": "path==/"}, "filter"),
        ({"bots": "no"}, "bots"),
    ],
)
def test_live_takes_no_other_question(asked: dict[str, str], parameter: str) -> None:
    with pytest.raises(QueryError) as error:
        parse_question({"kind": "live", **asked}, NOW, "UTC")
    assert error.value.parameter == parameter


def groups_scanned(data: DataDirectory, until: datetime, profile: Path) -> int:
    """How many groups of rows DuckDB reads for the last minutes."""
    query = parse_question({"kind": "live", "at": until.isoformat()}, NOW, "UTC")
    with closing(connect(256 << 20, 1)) as database:
        database.execute("SET enable_profiling = 'json'")
        database.execute(f"SET profiling_output = '{profile}'")
        make_report(database, data, load_snapshot(data), query)
    found = json.loads(profile.read_text())["operator"]
    return sum(each.get("row_groups_scanned", 0) for each in _operators(found))


def _operators(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        yield node
        yield from _operators(node.get("children", []))


def test_last_minutes_do_not_cost_what_the_day_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of few rows stand for those of a day of millions; parts are merged as
    passes merge them.
    """
    monkeypatch.setattr("compactor.generations.part_files.COPY_OPTIONS", f"{COPY_OPTIONS}, ROW_GROUP_SIZE 2048")
    data = data_directory(tmp_path)
    begin, passes, count, apart_ms = NOON - 12 * 3_600_000, 17, 1_200, 3_000
    for number in range(passes):
        start = begin + number * count * apart_ms
        sealed(
            data,
            [line(f"event-{number}-{n}", start + n * apart_ms, visitor=f"visitor-{n % 300}") for n in range(count)],
        )
        fold(data, start + count * apart_ms)
    (day,) = load_snapshot(data).days.values()
    assert max(part.rows for part in day.archive) == 8 * count
    until = datetime.fromtimestamp((begin + passes * count * apart_ms) / 1000, NOW.tzinfo)
    groups = sum(-(-part.rows // 2048) for part in day.archive)
    assert groups > 9
    assert groups_scanned(data, until, tmp_path / "profile.json") <= 2
    assert ask(data, "live", at=until.isoformat())["total"] == {
        "events_5": 100,
        "visitors_5": 100,
        "events_30": 600,
        "visitors_30": 300,
    }
