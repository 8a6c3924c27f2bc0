"""GET /admin/api/report: numbers that were counted by hand, formats, bad parameters."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.builders.server import ADMIN_TOKEN
from tests.builders.spreadsheet import FORMULAS, is_formula
from tests.builders.visits import D1, D2, SITE, SPAN, TODAY, send_visits
from tests.builders.worker import Worker

CSV = {"format": "csv"}
EXPORT = "/admin/api/export"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("reports"), sites=SITE) as running:
        send_visits(running)
        yield running


Numbers = tuple[int, int]
# A question about the two days, the rows (value or nothing, events, visitors) and the
# total, counted by hand.
REPORTS: dict[str, tuple[dict[str, str], list[tuple[str | None, int, int]], Numbers]] = {
    "all": ({}, [(None, 8, 4)], (8, 4)),
    "with bots": ({"bots": "include"}, [(None, 9, 5)], (9, 5)),
    "only bots": ({"bots": "only"}, [(None, 1, 1)], (1, 1)),
    "one event": ({"event": "pageview"}, [(None, 6, 3)], (6, 3)),
    "an event that was never sent": ({"event": "nothing"}, [(None, 0, 0)], (0, 0)),
    "one site": ({"site": SITE}, [(None, 8, 4)], (8, 4)),
    "another site": ({"site": "other.example"}, [(None, 0, 0)], (0, 0)),
    "by event": ({"by": "event"}, [("pageview", 6, 3), ("=1+1", 1, 1), ("order", 1, 1)], (8, 4)),
    "by path": ({"by": "path"}, [("/", 4, 3), ("/pricing", 2, 2), ("/docs", 2, 1)], (8, 4)),
    "by path, the first": ({"by": "path", "limit": "1"}, [("/", 4, 3)], (8, 4)),
    "by path of one event": ({"by": "path", "event": "order"}, [("/pricing", 1, 1)], (1, 1)),
    "by site": ({"by": "site"}, [(SITE, 8, 4)], (8, 4)),
    "by referrer": ({"by": "referrer"}, [(None, 7, 4), ("search.example", 1, 1)], (8, 4)),
    "by utm_source": ({"by": "utm_source"}, [(None, 7, 4), ("news", 1, 1)], (8, 4)),
    "by utm_medium": ({"by": "utm_medium"}, [(None, 7, 4), ("mail", 1, 1)], (8, 4)),
    "by utm_campaign": ({"by": "utm_campaign"}, [(None, 7, 4), ("may", 1, 1)], (8, 4)),
    "by language": ({"by": "language"}, [("de", 8, 4)], (8, 4)),
    "by browser": ({"by": "browser"}, [("Firefox", 8, 4)], (8, 4)),
    "by device": ({"by": "device"}, [("desktop", 8, 4)], (8, 4)),
    "by country, which is unknown": ({"by": "country"}, [(None, 8, 4)], (8, 4)),
    "by a property": ({"by": "props.plan"}, [(None, 6, 3), ("free", 1, 1), ("pro", 1, 1)], (8, 4)),
    "filter by path": ({"filter": "path==/"}, [(None, 4, 3)], (4, 3)),
    "filter by path and event": ({"filter": "path==/;event!=pageview"}, [(None, 1, 1)], (1, 1)),
    "filter by a property": ({"filter": "props.plan==pro"}, [(None, 1, 1)], (1, 1)),
    "filter by presence": ({"filter": "referrer!="}, [(None, 1, 1)], (1, 1)),
    "filter by absence": ({"filter": "props.plan=="}, [(None, 6, 3)], (6, 3)),
    "filter with quotes": ({"filter": r"path=='\; DROP TABLE x\; --"}, [(None, 0, 0)], (0, 0)),
    "filter by path, by event": ({"filter": "path!=/docs", "by": "event", "limit": "1"}, [("pageview", 4, 2)], (6, 3)),
    "the first day": ({"to": str(D1)}, [(None, 4, 2)], (4, 2)),
    "the second day": ({"from": str(D2)}, [(None, 4, 3)], (4, 3)),
    "half an hour": ({"from": f"{D2}T08:00:00Z", "to": f"{D2}T08:30:00Z"}, [(None, 3, 2)], (3, 2)),
    "to the millisecond": ({"from": f"{D2}T08:00:00.001Z", "to": f"{D2}T08:15:00Z"}, [(None, 1, 1)], (1, 1)),
    "where it is D2 already": ({"from": str(D2), "tz": "Pacific/Kiritimati"}, [(None, 8, 4)], (8, 4)),
    "where it is D1 still": ({"to": str(D1), "tz": "Pacific/Pago_Pago"}, [(None, 8, 4)], (8, 4)),
}


def test_screen_that_a_page_sends_is_a_dimension(tmp_path: Path) -> None:
    """Of events, and of visits: that of their first event."""
    with Worker(tmp_path, sites=SITE) as worker:
        sent = [("wide", "ann"), ("1920x1080", "bob"), ("wide", "cat"), ("w" * 40, "dan")]
        events = [{"name": "screen", "visitor": who, "props": {"screen": screen}} for screen, who in sent]
        assert worker.post(events).status == 200
        worker.fold()
        asked = {"from": str(D1), "to": str(TODAY), "by": "screen", "bots": "include"}
        asked["measures"] = "events,visitors,visits"
        rows = worker.get("/admin/api/report", **asked).json()["rows"]
        found = [(row["value"], row["events"], row["visitors"], row["visits"]) for row in rows]
        assert sorted(found, key=repr) == [("1920x1080", 1, 1, 1), ("wide", 2, 2, 2), (None, 1, 1, 1)]
        filtered = worker.get("/admin/api/report", **asked, filter="screen==wide").json()
        assert filtered["total"]["events"] == 2


@pytest.mark.parametrize(("asked", "rows", "total"), REPORTS.values(), ids=REPORTS)
def test_report_has_the_numbers_counted_by_hand(
    worker: Worker, asked: dict[str, str], rows: list[tuple[str | None, int, int]], total: Numbers
) -> None:
    answer = worker.get("/admin/api/report", **(SPAN | asked))
    assert answer.status == 200, answer
    found = answer.json()
    assert [(row.get("value"), row["events"], row["visitors"]) for row in found["rows"]] == rows
    assert (found["total"]["events"], found["total"]["visitors"]) == total
    assert ("value" in found["rows"][0]) == ("by" in asked)
    assert "reason" not in found


# The same over time: the instant at which a row begins, its events and visitors.
SERIES: dict[str, tuple[dict[str, str], list[tuple[str, int, int]]]] = {
    "days": ({"interval": "day"}, [(f"{D1}T00:00:00+00:00", 4, 2), (f"{D2}T00:00:00+00:00", 4, 3)]),
    "hours": (
        {"interval": "hour", "from": f"{D2}T07:00:00Z", "to": f"{D2}T10:00:00Z"},
        [(f"{D2}T07:00:00+00:00", 0, 0), (f"{D2}T08:00:00+00:00", 3, 2), (f"{D2}T09:00:00+00:00", 1, 1)],
    ),
    "quarters": (
        {"interval": "15m", "from": f"{D2}T08:00:00Z", "to": f"{D2}T08:30:00Z"},
        [(f"{D2}T08:00:00+00:00", 2, 2), (f"{D2}T08:15:00+00:00", 1, 1)],
    ),
    "days elsewhere": (
        {"interval": "day", "tz": "Asia/Kathmandu"},
        [(f"{D1}T00:00:00+05:45", 4, 2), (f"{D2}T00:00:00+05:45", 4, 3)],
    ),
}


@pytest.mark.parametrize(("asked", "rows"), SERIES.values(), ids=SERIES)
def test_series_has_a_row_for_every_interval(
    worker: Worker, asked: dict[str, str], rows: list[tuple[str, int, int]]
) -> None:
    found = worker.get("/admin/api/report", **(SPAN | asked)).json()
    assert [(row["time"], row["events"], row["visitors"]) for row in found["rows"]] == rows


def test_report_names_its_span_and_its_snapshot(worker: Worker) -> None:
    answer = worker.get("/admin/api/report", **SPAN, tz="Europe/Berlin", interval="month", by="path")
    found = answer.json()
    assert set(found) == {"from", "to", "tz", "interval", "by", "rows", "total", "generation", "as_of"}
    assert (found["tz"], found["interval"], found["by"]) == ("Europe/Berlin", "month", "path")
    assert datetime.fromisoformat(found["from"]).date() == D1
    assert datetime.fromisoformat(found["to"]).date() == TODAY
    assert f'"{found["generation"]}"' == worker.get("/admin/api/snapshot").headers["ETag"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_report_as_csv_disarms_formulas(worker: Worker) -> None:
    answer = worker.get("/admin/api/report", **SPAN, by="event", format="csv")
    assert answer.headers.get_content_type() == "text/csv"
    assert answer.body == b'value,events,visitors\r\npageview,6,3\r\n"\'=1+1",1,1\r\norder,1,1\r\n'
    raw = worker.get("/admin/api/report", **SPAN, by="event", format="csv", raw="1")
    assert raw.body == b"value,events,visitors\r\npageview,6,3\r\n=1+1,1,1\r\norder,1,1\r\n"


def test_report_as_ndjson_is_a_row_a_line(worker: Worker) -> None:
    answer = worker.get("/admin/api/report", **SPAN, by="path", format="ndjson")
    assert answer.headers.get_content_type() == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert rows == worker.get("/admin/api/report", **SPAN, by="path").json()["rows"]


def test_no_text_of_a_client_is_a_formula_in_csv(worker: Worker) -> None:
    worker.post([{"name": "formula", "props": {"formula": text}} for text in FORMULAS.values()])
    worker.fold()
    asked = {"event": "formula", "by": "props.formula", "format": "csv"}
    report, export = (worker.get(path, **given).body for path, given in (("/admin/api/report", asked), (EXPORT, CSV)))
    for separator in ",;\t":
        for text in (report.decode("utf-8"), export.decode("utf-8")):
            lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            assert [cell for line in lines for cell in line if is_formula(cell)] == []
    raw = csv.DictReader(
        io.StringIO(worker.get("/admin/api/report", **asked, raw="1").body.decode("utf-8"), newline="")
    )
    assert sorted(row["value"] for row in raw) == sorted(FORMULAS.values())
    exported = csv.DictReader(io.StringIO(worker.get(EXPORT, **CSV, raw="1").body.decode("utf-8"), newline=""))
    props = [json.loads(row["props"]) for row in exported if row["event"] == "formula"]
    assert sorted(each["formula"] for each in props) == sorted(FORMULAS.values())


def test_raw_is_0_or_1(worker: Worker) -> None:
    assert worker.get("/admin/api/report", format="csv", raw="yes").status == 400
    assert worker.get(EXPORT, format="csv", raw="").status == 400
    assert worker.get("/admin/api/report", raw="1").json()["interval"] == "none"


@pytest.mark.parametrize("key", ["__proto__", "constructor", "crc"])
def test_javascript_names_are_plain_keys_in_a_report(worker: Worker, key: str) -> None:
    worker.post([{"name": key, "props": {key: "polluted"}}])
    worker.fold()
    found = worker.get("/admin/api/report", event=key, by=f"props.{key}").json()
    assert [(row["value"], row["events"]) for row in found["rows"]] == [("polluted", 1)]


BAD: dict[str, tuple[str, str]] = {
    "from a word": ("from=yesterday", "from"),
    "from after to": ("from=2026-02-02&to=2026-02-01", "from"),
    "to a word": ("to=x", "to"),
    "tz a path": ("tz=../../etc/passwd", "tz"),
    "tz not UTF-8": ("tz=%ff", "tz"),
    "an unknown parameter": ("form=2026-02-02", "form"),
    "an unknown format": ("format=xlsx", "format"),
    "a parameter twice": ("tz=UTC&tz=UTC", "twice"),
}
BAD_REPORT: dict[str, tuple[str, str]] = BAD | {
    "interval unknown": ("interval=decade", "interval"),
    "too many rows": ("from=2020-01-01&to=2026-01-01&interval=15m", "interval"),
    "by unknown": ("by=visitor", "by"),
    "by SQL": ("by=path%3B+DROP+TABLE+x", "by"),
    "limit 0": ("limit=0", "limit"),
    "bots unknown": ("bots=yes", "bots"),
    "filter unknown": ("filter=visitor%3D%3Dann", "filter"),
    "the token": (f"token={ADMIN_TOKEN}", "token"),
}


@pytest.mark.parametrize(("query", "parameter"), BAD_REPORT.values(), ids=BAD_REPORT)
def test_bad_report_is_400_and_names_the_parameter(worker: Worker, query: str, parameter: str) -> None:
    answer = worker.get(f"/admin/api/report?{query}")
    assert (answer.status, answer.code) == (400, "query")
    assert parameter in answer.json()["detail"]
