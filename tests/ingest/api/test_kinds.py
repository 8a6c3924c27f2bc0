"""GET /admin/api/live, cohorts and goals/report: numbers that were counted by hand, and
formats; and that a question is answered once until the next pass.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from shared.disk.marks import set_mark
from shared.named_filters import NamedFilter, delete_named_filter, put_named_filter
from shared.timestamps import now_ms
from tests.builders.visits import D1, SITE, SPAN, send_visits
from tests.builders.worker import Worker

LIVE, COHORTS, GOALS = "/admin/api/live", "/admin/api/cohorts", "/admin/api/goals/report"
FUNNEL, PATHS = "/admin/api/funnel", "/admin/api/paths"
ORDER_STEPS = "path==/;;path==/pricing"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("kinds"), sites=SITE) as running:
        send_visits(running)
        for name, path in (("ann", "/"), ("ann", "/now"), ("eve", "/now")):
            event = {"name": "pageview", "visitor": name, "url": f"https://{SITE}{path}"}
            assert (
                running.post([event], headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0"}).status
                == 200
            )
        running.fold()
        set_mark(running.data.last_pass, now_ms() + 1_000)
        yield running


def test_last_minutes_are_those_before_the_last_pass(worker: Worker) -> None:
    answer = worker.get(LIVE)
    assert answer.status == 200, answer.body
    found = answer.json()
    assert found["total"] == {"events_5": 3, "visitors_5": 2, "events_30": 3, "visitors_30": 2}
    assert [(row["by"], row["value"], row["events_5"], row["visitors_30"]) for row in found["rows"]] == [
        ("site", SITE, 3, 2),
        ("path", "/now", 2, 2),
        ("path", "/", 1, 1),
        ("source", None, 3, 2),
    ]
    assert found["at"] > found["as_of"]
    assert worker.get(LIVE, site="other.example").json()["total"]["events_30"] == 0


def test_last_minutes_as_csv(worker: Worker) -> None:
    assert worker.get(LIVE, format="csv", limit="1").body.decode().splitlines() == [
        "by,value,events_5,visitors_5,events_30,visitors_30",
        f"site,{SITE},3,2,3,2",
        "path,/now,2,2,2,2",
        "source,,3,2,3,2",
    ]


def test_live_is_answered_once_until_the_next_pass(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once, and a hundred more: one question reaches a reader. After a
    pass that found nothing the minutes are others, and so is the question.
    """
    asked: list[bytes] = []
    pool = worker.context.reader._pool
    answer = pool.answer

    async def counted(request: bytes, owner: bytes = b"") -> object:
        asked.append(request)
        return await answer(request, owner)

    monkeypatch.setattr(pool, "answer", counted)
    for _ in range(2):
        with ThreadPoolExecutor(16) as threads:
            found = set(threads.map(lambda _: worker.get(LIVE, limit="7").body, range(100)))
        assert len(found) == 1
    assert len(asked) == 1
    set_mark(worker.data.last_pass, now_ms() + 2_000)
    assert worker.get(LIVE, limit="7").json()["total"]["events_30"] == 3
    assert len(asked) == 2


def test_live_without_a_mark_is_that_of_the_snapshot(worker: Worker) -> None:
    found = worker.data.last_pass.stat()
    worker.data.last_pass.unlink()
    try:
        assert worker.get(LIVE).json()["total"]["events_30"] == 3
    finally:
        worker.data.last_pass.touch()
        os.utime(worker.data.last_pass, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_cohorts_have_the_numbers_counted_by_hand(worker: Worker) -> None:
    found = worker.get(COHORTS, **SPAN, period="day").json()
    assert [(row["visitors"], row["returned"]) for row in found["rows"]] == [(2, [1]), (2, [])]
    assert (found["total"], found["archive_since"]) == ({"visitors": 4, "daily_visitors": 0}, str(D1))
    ordered = worker.get(COHORTS, **SPAN, period="day", **{"return": "event==order"}).json()
    assert [row["returned"] for row in ordered["rows"]] == [[0], []]
    csv = worker.get(COHORTS, **SPAN, period="day", format="csv").body.decode().splitlines()
    assert csv[0] == "time,visitors,returned_1"
    assert [line.partition(",")[2] for line in csv[1:]] == ["2,1", "2,"]


def test_funnel_has_the_numbers_counted_by_hand(worker: Worker) -> None:
    """Ann and Bob see the prices ten minutes after the front page, Dan never does."""
    found = worker.get(FUNNEL, **SPAN, steps=ORDER_STEPS, window="1d").json()
    numbers = [(row["visitors"], row["conversion"], row["median_s"], row["filter"]) for row in found["steps"]]
    assert numbers == [(3, 1.0, None, "path==/"), (2, 0.666667, 600.0, "path==/pricing")]
    assert found["rows"] == found["steps"]
    assert found["total"] == {"visitors": 3, "converted": 2, "daily_visitors": 0}
    csv = worker.get(FUNNEL, **SPAN, steps=ORDER_STEPS, by="referrer", format="csv").body.decode().splitlines()
    assert csv == [
        "value,others,step,visitors,conversion,step_conversion,median_s,median_from_first_s",
        ",,1,2,1.0,1.0,,",
        ",,2,1,0.5,0.5,600.0,600.0",
        "search.example,,1,1,1.0,1.0,,",
        "search.example,,2,1,1.0,1.0,600.0,600.0",
    ]


def test_funnel_within_a_visit_has_the_numbers_counted_by_hand(worker: Worker) -> None:
    """Ann is on the front page again after twenty hours."""
    asked = SPAN | {"steps": "path==/;;path==/"}
    within_a_day, within_a_visit = (worker.get(FUNNEL, **asked, window=window).json() for window in ("1d", "visit"))
    assert [row["visitors"] for row in within_a_day["steps"]] == [3, 1]
    assert [row["visitors"] for row in within_a_visit["steps"]] == [3, 0]
    assert within_a_visit["window"] == "visit"
    prices = worker.get(FUNNEL, **SPAN, steps=ORDER_STEPS, window="visit").json()
    assert [(row["visitors"], row["median_s"]) for row in prices["steps"]] == [(3, None), (2, 600.0)]


def test_paths_have_the_numbers_counted_by_hand(worker: Worker) -> None:
    """Ann and Bob go from the front page to the prices and leave; Ann comes back."""
    found = worker.get(PATHS, **SPAN, at="/").json()
    assert [tuple(row.values()) for row in found["rows"]] == [
        (-1, None, 4, 3),
        (1, "/pricing", 2, 2),
        (1, None, 2, 2),
        (2, "/pricing", None, 2, 2),
    ]
    assert (found["by"], found["at"], found["total"]) == ("path", "/", {"stays": 4, "visitors": 3})
    csv = worker.get(PATHS, **SPAN, at="/", limit="1", format="csv").body.decode().splitlines()
    assert csv == [
        "position,via,value,others,moves,visitors",
        "-1,,,,4,3",
        "1,,/pricing,,2,2",
        "1,,,1,2,2",
        "2,/pricing,,,2,2",
    ]


@pytest.fixture
def goals(worker: Worker) -> None:
    """Two goals, whatever a test before made of them."""
    worker.data.goals.unlink(missing_ok=True)
    assert worker.get(GOALS, **SPAN).json()["goals"] == []
    put_named_filter(worker.data, NamedFilter("goal", "order", "event==order"))
    put_named_filter(worker.data, NamedFilter("goal", "=prices", "path==/pricing", 2.0))


@pytest.mark.usefixtures("goals")
def test_conversions_have_the_numbers_counted_by_hand(worker: Worker) -> None:
    found = worker.get(GOALS, **SPAN).json()
    assert [tuple(row.values()) for row in found["rows"]] == [
        ("order", 1, 1, 4, 0.25, 9.5),
        ("=prices", 2, 2, 4, 0.5, 4.0),
    ]
    assert found["total"] == {"events": 8, "visitors": 4}
    days = worker.get(GOALS, **SPAN, interval="day", goal="order", format="csv", raw="1").body.decode().splitlines()
    assert days[0] == "time,goal,events,visitors,all_visitors,rate,value_sum"
    assert [line.partition(",")[2] for line in days[1:]] == ["order,1,1,2,0.5,9.5", "order,0,0,3,0.0,0.0"]
    assert b'"\'=prices"' in worker.get(GOALS, **SPAN, format="csv").body


@pytest.mark.usefixtures("goals")
def test_goal_that_an_editor_changed_holds_from_the_next_question_on(worker: Worker) -> None:
    before = worker.data.goals.read_bytes()
    beside = worker.data.goals.with_name("edited")
    beside.write_bytes(
        b'[{"kind":"goal","name":"edited","filter":"event!=pageview"},{"kind":"goal","name":"bad","filter":"x"},7]'
    )
    beside.rename(worker.data.goals)
    try:
        edited, bad = worker.get(GOALS, **SPAN).json()["goals"]
        assert (edited["events"], bad["events"]) == (2, None)
        assert "reason" in bad
        assert "goals_damaged" in worker.log.events()
    finally:
        beside.write_bytes(before)
        beside.rename(worker.data.goals)
    assert [row["goal"] for row in worker.get(GOALS, **SPAN).json()["goals"]] == ["order", "=prices"]


REFUSED = {
    "live, the time of the pass": (LIVE, {"at": "2026-11-22T12:00:00Z"}),
    "live, a time": (LIVE, {"from": str(D1)}),
    "live, a limit": (LIVE, {"limit": "1000"}),
    "cohorts, a period": (COHORTS, {"period": "year"}),
    "cohorts, too many periods": (COHORTS, {"period": "day", "from": "2020-01-01"}),
    "cohorts, no conditions": (COHORTS, {"return": "x"}),
    "cohorts, a limit": (COHORTS, {"limit": "3"}),
    "funnel, no steps": (FUNNEL, {}),
    "funnel, one step": (FUNNEL, {"steps": "path==/"}),
    "funnel, a window": (FUNNEL, {"steps": ORDER_STEPS, "window": "1h"}),
    "funnel, where visits begin": (FUNNEL, {"steps": ORDER_STEPS, "by": "entry"}),
    "paths, where visits end": (PATHS, {"at": "/", "filter": "exit==/"}),
    "cohorts, where visits begin": (COHORTS, {"period": "day", "return": "entry==/"}),
    "funnel, an interval": (FUNNEL, {"steps": ORDER_STEPS, "interval": "day"}),
    "paths, no page": (PATHS, {}),
    "paths, a dimension": (PATHS, {"at": "DE", "by": "country"}),
    "goals, goals of the client": (GOALS, {"goals": "[]"}),
    "goals, a goal that is not there": (GOALS, {"goal": "absent"}),
    "goals, a dimension": (GOALS, {"by": "path"}),
    "report, a kind": ("/admin/api/report", {"kind": "live"}),
}


@pytest.mark.parametrize(("path", "asked"), REFUSED.values(), ids=REFUSED)
def test_question_that_cannot_be_is_refused(worker: Worker, path: str, asked: dict[str, str]) -> None:
    answer = worker.get(path, **asked)
    assert (answer.status, answer.code) == (400, "query"), answer.body


@pytest.mark.usefixtures("goals")
def test_conversions_are_answered_again_after_a_change_alone(worker: Worker) -> None:
    """The goals are a part of the question, which is remembered."""
    assert worker.get(GOALS, **SPAN, goal="order").json()["rows"][0]["value_sum"] == 9.5
    put_named_filter(worker.data, NamedFilter("goal", "order", "event==order", 100.0))
    assert worker.get(GOALS, **SPAN, goal="order").json()["rows"][0]["value_sum"] == 100.0


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (LIVE, {}),
        (COHORTS, SPAN | {"period": "day"}),
        (FUNNEL, SPAN | {"steps": ORDER_STEPS}),
        (PATHS, SPAN | {"at": "/pricing"}),
        (GOALS, SPAN),
        (
            "/admin/api/report",
            SPAN | {"by": "path", "interval": "day", "compare": "previous", "measures": "events,visits"},
        ),
    ],
)
def test_each_kind_is_answered_as_parquet_with_what_csv_has(
    worker: Worker, tmp_path: Path, path: str, asked: dict[str, str]
) -> None:
    put_named_filter(worker.data, NamedFilter("goal", "orders", "event==order"))
    answer = worker.get(path, format="parquet", **asked)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="foldlog.parquet"'
    (tmp_path / "rows.parquet").write_bytes(answer.body)
    with closing(duckdb.connect()) as database:
        asked_rows = "SELECT COLUMNS(lambda name: NOT ends_with(name, 'time')) FROM read_parquet($path)"
        found = database.execute(asked_rows, {"path": str(tmp_path / "rows.parquet")})
        names, rows = [each[0] for each in found.description or ()], found.fetchall()
    as_csv = list(csv.DictReader(worker.get(path, format="csv", raw="1", **asked).body.decode().splitlines()))
    assert delete_named_filter(worker.data, "goal", "orders")
    assert len(rows) == len(as_csv) > 0
    assert names == [name for name in as_csv[0] if not name.endswith("time")]
    for row, cells in zip(rows, as_csv, strict=True):
        for value, name in zip(row, names, strict=True):
            cell = cells[name]
            assert ("" if value is None else value) == (cell if isinstance(value, str) or cell == "" else float(cell))
