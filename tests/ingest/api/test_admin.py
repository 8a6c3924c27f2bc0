"""The read half of a real server: who may ask what, and numbers that were counted by
hand.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import duckdb
import pytest

from shared.timestamps import now_ms
from tests.builders.logs import data_directory, line, sealed
from tests.builders.processes import children
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, Server, bearer, run_foldlog
from tests.builders.waiting import until

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
TODAY = datetime.now(UTC).date()
# The day before yesterday and yesterday: whole days that are still accepted.
D1, D2 = TODAY - timedelta(days=2), TODAY - timedelta(days=1)
SITE = "example.com"
NEWS = "?utm_source=news&utm_medium=mail&utm_campaign=may"


def sent(number: int, day: Any, time: str, name: str, visitor: str, path: str, **fields: object) -> dict[str, Any]:
    url = f"https://{SITE}{path}"
    return {"id": f"event-{number:02}", "time": f"{day}T{time}Z", "name": name, "visitor": visitor, "url": url} | fields


#    no. day  time            name        visitor path
PEOPLE = [
    sent(1, D1, "12:00:00", "pageview", "ann", "/", referrer="https://search.example/q?x=1"),
    sent(2, D1, "12:10:00", "pageview", "ann", "/pricing", referrer=f"https://{SITE}/"),
    sent(3, D1, "12:20:00", "pageview", "bob", "/"),
    sent(4, D1, "12:30:00", "order", "bob", "/pricing", value=9.5, props={"plan": "pro"}),
    sent(5, D2, "08:00:00", "pageview", "ann", "/"),
    sent(6, D2, "08:14:59.999", "pageview", "cat", f"/docs{NEWS}"),
    sent(7, D2, "08:15:00", "pageview", "cat", "/docs"),
    sent(8, D2, "09:00:00", "=1+1", "dan", "/", props={"plan": "free"}),
]
BOTS = [sent(9, D2, "09:30:00", "pageview", "bot", "/robots.txt")]
AGAIN = PEOPLE[:1]
EXPORT = "/admin/api/export"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has folded the events above: nine, and one of them twice."""
    with Server(tmp_path_factory.mktemp("admin"), sites=SITE) as running:
        for events, agent in ((PEOPLE, FIREFOX), (BOTS, GOOGLEBOT), (AGAIN, FIREFOX)):
            answer = running.post(events, headers={"User-Agent": agent, "Accept-Language": "de-DE,en"})
            assert answer.json() == {"accepted": len(events), "rejected": []}
        assert running.fold() == 1
        yield running
        assert [
            line for line in running.stderr().splitlines() if '"event":"request_failed"' in line and EXPORT not in line
        ] == []


@pytest.fixture(scope="module")
def read_token(server: Server) -> str:
    done = run_foldlog(["token", "create", "--scope", "read"], server.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def basic(userinfo: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(userinfo.encode()).decode()}"}


ROUTES = ["GET /admin/api/snapshot", "GET /admin/api/report", "GET /admin/api/export", "GET /admin/api/status"]
FOLD = "POST /admin/api/fold"
CREDENTIALS: dict[str, tuple[dict[str, str], int]] = {
    "none": ({}, 401),
    "wrong": (bearer("wrong"), 401),
    "empty": (bearer(""), 401),
    "the beginning of the token": (bearer(ADMIN_TOKEN[:-1]), 401),
    "the token without a scheme": ({"Authorization": ADMIN_TOKEN}, 401),
    "Basic, wrong password": (basic("admin:wrong"), 401),
    "Basic, the token as user": (basic(f"{ADMIN_TOKEN}:"), 401),
    "Basic, not base64": ({"Authorization": "Basic !"}, 401),
    "ingest key": (bearer(INGEST_KEY), 403),
    "ingest key, Basic": (basic(f"x:{INGEST_KEY}"), 403),
    "admin token": (bearer(ADMIN_TOKEN), 200),
    "admin token, Basic": (basic(f"admin:{ADMIN_TOKEN}"), 200),
    "admin token, Basic without a user": (basic(f":{ADMIN_TOKEN}"), 200),
}


def ask(server: Server, route: str, headers: dict[str, str], query: str = "") -> Answer:
    method, _, path = route.partition(" ")
    return server.request(method, path + query, b"" if method == "POST" else None, headers)


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
@pytest.mark.parametrize(("headers", "status"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_route_asks_for_a_token_that_may(server: Server, route: str, headers: dict[str, str], status: int) -> None:
    """Rows 71 and 73."""
    answer = ask(server, route, headers)
    assert answer.status == status
    assert answer.code == {401: "token", 403: "scope", 200: None}[status]
    assert (answer.headers["WWW-Authenticate"] is not None) == (status == 401)


def test_refusals_say_what_to_do(server: Server) -> None:
    missing, wrong = (
        ask(server, "GET /admin/api/status", headers) for headers in ({}, {"Authorization": "Bearer wrong"})
    )
    assert "Authorization: Bearer" in missing.json()["detail"]
    assert "foldlog token create" in wrong.json()["detail"]
    assert "/admin/" in server.get("/").json()["detail"]


GOOD, BAD_TOKEN = f"Authorization: Bearer {ADMIN_TOKEN}", "Authorization: Bearer wrong"
# Headers that no HTTP library sends: what came of them.
ODD_CREDENTIALS = {
    "credentials: two tokens": ([GOOD, GOOD], (401, "token")),
    "credentials: two tokens, the second wrong": ([GOOD, BAD_TOKEN], (401, "token")),
    "credentials: two tokens, the first wrong": ([BAD_TOKEN, GOOD], (401, "token")),
    "credentials: a token of a megabyte": ([f"Authorization: Bearer {'x' * (1 << 20)}"], (400, "http")),
    "credentials: a token that is not ASCII": (["Authorization: Bearer \xff\xfe"], (401, "token")),
}


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
@pytest.mark.parametrize(("headers", "refused"), ODD_CREDENTIALS.values(), ids=ODD_CREDENTIALS)
def test_odd_credentials_are_refused(server: Server, route: str, headers: list[str], refused: tuple[int, str]) -> None:
    head = "\r\n".join([f"{route} HTTP/1.1", f"Host: {SITE}", "Content-Length: 0", *headers, "", ""])
    answer = server.exchange(head.encode("latin-1"))
    assert (answer.status, answer.code) == refused


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
def test_read_token_may_read_only(server: Server, read_token: str, route: str) -> None:
    answer = ask(server, route, bearer(read_token))
    assert (answer.status, answer.code) == ((403, "scope") if route == FOLD else (200, None))


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
@pytest.mark.parametrize("name", ["token", "access_token", "key"])
def test_token_in_the_query_string_is_not_taken_nor_logged(server: Server, route: str, name: str) -> None:
    """Row 72."""
    assert ask(server, route, {}, f"?{name}={ADMIN_TOKEN}").status == 401
    assert ADMIN_TOKEN not in server.stderr()


CROSS_SITE = {
    "cross-site: cross-site": {"Sec-Fetch-Site": "cross-site"},
    "cross-site: same-site": {"Sec-Fetch-Site": "same-site"},
    "cross-site: cross-site with its Origin": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "cross-site: cross-site with the Origin of a site that may write": {
        "Sec-Fetch-Site": "cross-site",
        "Origin": f"https://{SITE}",
    },
    "cross-site: Origin of an older browser": {"Origin": "https://evil.example"},
    "cross-site: Origin null": {"Origin": "null"},
    "cross-site: Origin of a site that may write": {"Origin": f"https://{SITE}"},
    "cross-site: Origin that begins like ours": {"Origin": "http://127.0.0.1.evil.example"},
    "cross-site: Origin of our host on another port": {"Origin": "http://127.0.0.1:1"},
}


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE)
def test_page_of_another_site_can_neither_read_nor_fold(server: Server, route: str, headers: dict[str, str]) -> None:
    before = server.data.snapshot.read_bytes()
    for credentials in (bearer(ADMIN_TOKEN), basic(f"admin:{ADMIN_TOKEN}")):
        answer = ask(server, route, credentials | headers)
        assert (answer.status, answer.code) == (403, "origin")
        assert not any(name.startswith("Access-Control-") for name in answer.headers)
    assert server.data.snapshot.read_bytes() == before


OWN_PAGE = {
    "of a modern browser": {"Sec-Fetch-Site": "same-origin"},
    "typed": {"Sec-Fetch-Site": "none"},
    "no browser": {},
}


@pytest.mark.parametrize("headers", OWN_PAGE.values(), ids=OWN_PAGE)
def test_own_page_can_read_and_fold(server: Server, headers: dict[str, str]) -> None:
    for route in (*ROUTES, FOLD):
        assert ask(server, route, bearer(ADMIN_TOKEN) | headers).status == 200


def test_own_page_of_an_older_browser_can_fold(server: Server) -> None:
    assert ask(server, FOLD, bearer(ADMIN_TOKEN) | {"Origin": f"http://{server.host}"}).status == 200


SPAN = {"from": str(D1), "to": str(D2)}
Numbers = tuple[int, int]
# A question about the two days, the rows (value or nothing, events, visitors) and the
# total, counted by hand.
REPORTS: dict[str, tuple[dict[str, str], list[tuple[str | None, int, int]], Numbers]] = {
    "all": ({}, [(None, 8, 4)], (8, 4)),
    "with bots": ({"bots": "include"}, [(None, 9, 5)], (9, 5)),
    "only bots": ({"bots": "only"}, [(None, 1, 1)], (1, 1)),
    "one event": ({"event": "pageview"}, [(None, 6, 3)], (6, 3)),
    "an event that nobody sent": ({"event": "nothing"}, [(None, 0, 0)], (0, 0)),
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
    "by country, of which nobody knows": ({"by": "country"}, [(None, 8, 4)], (8, 4)),
    "by a property": ({"by": "props.plan"}, [(None, 6, 3), ("free", 1, 1), ("pro", 1, 1)], (8, 4)),
    "filter by path": ({"filter": "path==/"}, [(None, 4, 3)], (4, 3)),
    "filter by path and event": ({"filter": "path==/;event!=pageview"}, [(None, 1, 1)], (1, 1)),
    "filter by a property": ({"filter": "props.plan==pro"}, [(None, 1, 1)], (1, 1)),
    "filter by what is there": ({"filter": "referrer!="}, [(None, 1, 1)], (1, 1)),
    "filter by what is not there": ({"filter": "props.plan=="}, [(None, 6, 3)], (6, 3)),
    "filter with quotes": ({"filter": r"path=='\; DROP TABLE x\; --"}, [(None, 0, 0)], (0, 0)),
    "filter by path, by event": ({"filter": "path!=/docs", "by": "event", "limit": "1"}, [("pageview", 4, 2)], (6, 3)),
    "the first day": ({"to": str(D1)}, [(None, 4, 2)], (4, 2)),
    "the second day": ({"from": str(D2)}, [(None, 4, 3)], (4, 3)),
    "half an hour": ({"from": f"{D2}T08:00:00Z", "to": f"{D2}T08:30:00Z"}, [(None, 3, 2)], (3, 2)),
    "to the millisecond": ({"from": f"{D2}T08:00:00.001Z", "to": f"{D2}T08:15:00Z"}, [(None, 1, 1)], (1, 1)),
    "where it is D2 already": ({"from": str(D2), "tz": "Pacific/Kiritimati"}, [(None, 8, 4)], (8, 4)),
    "where it is D1 still": ({"to": str(D1), "tz": "Pacific/Pago_Pago"}, [(None, 8, 4)], (8, 4)),
}


@pytest.mark.parametrize(("asked", "rows", "total"), REPORTS.values(), ids=REPORTS)
def test_report_is_what_a_person_counts(
    server: Server, asked: dict[str, str], rows: list[tuple[str | None, int, int]], total: Numbers
) -> None:
    answer = server.get("/admin/api/report", **(SPAN | asked))
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
    server: Server, asked: dict[str, str], rows: list[tuple[str, int, int]]
) -> None:
    found = server.get("/admin/api/report", **(SPAN | asked)).json()
    assert [(row["time"], row["events"], row["visitors"]) for row in found["rows"]] == rows


def test_report_says_what_it_answers_and_from_what(server: Server) -> None:
    answer = server.get("/admin/api/report", **SPAN, tz="Europe/Berlin", interval="month", by="path")
    found = answer.json()
    assert set(found) == {"from", "to", "tz", "interval", "by", "rows", "total", "generation", "as_of"}
    assert (found["tz"], found["interval"], found["by"]) == ("Europe/Berlin", "month", "path")
    assert datetime.fromisoformat(found["from"]).date() == D1
    assert datetime.fromisoformat(found["to"]).date() == TODAY
    assert f'"{found["generation"]}"' == server.get("/admin/api/snapshot").headers["ETag"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_report_as_csv_disarms_formulas(server: Server) -> None:
    answer = server.get("/admin/api/report", **SPAN, by="event", format="csv")
    assert answer.headers.get_content_type() == "text/csv"
    assert answer.body == b"value,events,visitors\r\npageview,6,3\r\n'=1+1,1,1\r\norder,1,1\r\n"


def test_report_as_ndjson_is_a_row_a_line(server: Server) -> None:
    answer = server.get("/admin/api/report", **SPAN, by="path", format="ndjson")
    assert answer.headers.get_content_type() == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert rows == server.get("/admin/api/report", **SPAN, by="path").json()["rows"]


FORMULAS = ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"]


def test_no_text_from_outside_is_a_formula_in_csv(server: Server) -> None:
    """Row 70."""
    server.post([{"name": "formula", "props": {"formula": text}} for text in FORMULAS])
    server.fold()
    answer = server.get("/admin/api/report", event="formula", by="props.formula", format="csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8"), newline="")))
    assert sorted(row["value"] for row in rows) == sorted(f"'{text}" for text in FORMULAS)
    found = csv.reader(io.StringIO(server.get(EXPORT, format="csv").body.decode("utf-8"), newline=""))
    assert [cell for row in found for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []


@pytest.mark.parametrize("key", ["__proto__", "constructor", "crc"])
def test_names_from_javascript_are_plain_keys_in_a_report(server: Server, key: str) -> None:
    """Row 63."""
    server.post([{"name": key, "props": {key: "polluted"}}])
    server.fold()
    found = server.get("/admin/api/report", event=key, by=f"props.{key}").json()
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
    "interval unknown": ("interval=year", "interval"),
    "too many rows": ("from=2020-01-01&to=2026-01-01&interval=15m", "interval"),
    "by unknown": ("by=visitor", "by"),
    "by SQL": ("by=path%3B+DROP+TABLE+x", "by"),
    "limit 0": ("limit=0", "limit"),
    "bots unknown": ("bots=yes", "bots"),
    "filter unknown": ("filter=visitor%3D%3Dann", "filter"),
    "the token": (f"token={ADMIN_TOKEN}", "token"),
}
BAD_EXPORT: dict[str, tuple[str, str]] = BAD | {"a filter": ("filter=path%3D%3D/", "filter"), "by": ("by=path", "by")}


@pytest.mark.parametrize(("query", "parameter"), BAD_REPORT.values(), ids=BAD_REPORT)
def test_bad_report_is_400_and_names_the_parameter(server: Server, query: str, parameter: str) -> None:
    answer = server.get(f"/admin/api/report?{query}")
    assert (answer.status, answer.code) == (400, "query")
    assert parameter in answer.json()["detail"]


@pytest.mark.parametrize(("query", "parameter"), BAD_EXPORT.values(), ids=BAD_EXPORT)
def test_bad_export_is_400_and_names_the_parameter(server: Server, query: str, parameter: str) -> None:
    answer = server.get(f"/admin/api/export?{query}")
    assert (answer.status, answer.code) == (400, "query")
    assert parameter in answer.json()["detail"]


def exported(server: Server, form: str, **asked: str) -> Answer:
    answer = server.get(EXPORT, **(SPAN | asked), format=form)
    assert answer.status == 200
    assert answer.headers["Content-Disposition"] == f'attachment; filename="foldlog.{form}"'
    return answer


IDS = [f"event-{number:02}" for number in range(1, 10)]


def test_export_as_ndjson_holds_every_event_once_in_order(server: Server) -> None:
    answer = exported(server, "ndjson")
    assert answer.headers.get_content_type() == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert [row["id"] for row in rows] == IDS
    order = rows[3]
    assert (order["event"], order["visitor"], order["value"], order["props"]) == ("order", "bob", 9.5, {"plan": "pro"})
    assert (order["time"], order["path"], order["site"]) == (f"{D1}T12:30:00.000Z", "/pricing", SITE)
    assert (order["browser"], order["bot"], rows[8]["bot"]) == ("Firefox", False, True)
    assert "referrer" not in order
    assert rows[0]["referrer"] == "search.example"


def test_export_as_csv_says_the_same(server: Server) -> None:
    answer = exported(server, "csv")
    assert answer.headers.get_content_type() == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8"), newline="")))
    assert [row["id"] for row in rows] == IDS
    assert (rows[3]["event"], rows[3]["value"], rows[3]["props"]) == ("order", "9.5", '{"plan":"pro"}')
    assert rows[7]["event"] == "'=1+1"
    assert rows[2]["referrer"] == ""


def test_export_as_parquet_says_the_same(server: Server, tmp_path: Path) -> None:
    answer = exported(server, "parquet")
    path = tmp_path / "foldlog.parquet"
    path.write_bytes(answer.body)
    with duckdb.connect() as database:
        rows = database.execute(f"SELECT id, event, value, props, time FROM '{path}' ORDER BY time").fetchall()
    assert [row[0] for row in rows] == IDS
    assert rows[3] == ("event-04", "order", 9.5, '{"plan":"pro"}', datetime(D1.year, D1.month, D1.day, 12, 30))  # noqa: DTZ001
    assert rows[7][1] == "=1+1"


def test_export_of_no_events_as_parquet_is_a_table_without_rows(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "foldlog.parquet"
    path.write_bytes(exported(server, "parquet", **{"from": "2020-01-01", "to": "2020-01-02"}).body)
    with duckdb.connect() as database:
        assert database.execute(f"SELECT count(*) FROM '{path}'").fetchone() == (0,)


# Reports that nobody else asks for: the answer to what was asked before is known, and
# right.
@pytest.mark.parametrize(
    ("question", "damage"),
    [
        (f"{EXPORT}?from={D1}", "gone"),
        (f"{EXPORT}?from={D1}", "flipped"),
        (f"/admin/api/report?from={D1}&limit=77", "gone"),
        (f"/admin/api/report?from={D1}&limit=78", "flipped"),
    ],
)
def test_damaged_part_is_said_before_a_wrong_number_is(server: Server, question: str, damage: str) -> None:
    (part,) = (server.data.archive / str(D1)).iterdir()
    away = part.rename(part.with_suffix(".away"))
    try:
        if damage == "flipped":
            content = bytearray(away.read_bytes())
            content[len(content) // 2] ^= 1
            part.write_bytes(content)
        answer = server.get(question)
    finally:
        away.rename(part)
    assert (answer.status, answer.code) == (503, "part")
    assert "foldlog" in answer.json()["detail"]
    assert server.get(question).status == 200


@pytest.mark.long
def test_export_that_fails_midway_is_cut_off_and_cannot_be_taken_for_a_whole_one(tmp_path: Path) -> None:
    """Killed while it waits for a client that does not read. It leaves no temporary
    files, which would hold events.
    """
    data = data_directory(tmp_path / "data")
    sealed(data, [line(f"event-{number}", now_ms(), props={"x": "y" * 1000}) for number in range(20_000)])
    server = Server(tmp_path)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    server.environ["TMPDIR"] = str(temporary)
    with server:
        server.fold()
        headers = f"Host: {SITE}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(f"GET {EXPORT} HTTP/1.1\r\n{headers}\r\n".encode())
            found = connection.recv(1000)
            (export,) = children(server.child("ingest-0"))
            assert list(temporary.rglob("*"))
            os.kill(export, signal.SIGKILL)
            with suppress(ConnectionResetError):
                while block := connection.recv(65536):
                    found += block
        until(lambda: not list(temporary.iterdir()))
    assert found.count(b"HTTP/1.1 200 ") == 1, found[:1000]
    assert not found.endswith(b"\r\n0\r\n\r\n")


def test_export_holds_only_the_time_that_was_asked_for(server: Server) -> None:
    rows = exported(server, "ndjson", **{"from": f"{D2}T08:00:00Z", "to": f"{D2}T08:15:00Z"}).body.splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["event-05", "event-06"]


def test_snapshot_is_what_is_on_disk_and_304_as_long_as_it_is(server: Server) -> None:
    first = server.get("/admin/api/snapshot")
    assert first.body == server.data.snapshot.read_bytes()
    assert f'"{first.json()["generation"]}"' == first.headers["ETag"]
    again = server.get("/admin/api/snapshot", {"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert server.get("/admin/api/snapshot", {"If-None-Match": '"0"'}).status == 200
    server.fold()
    later = server.get("/admin/api/snapshot", {"If-None-Match": first.headers["ETag"]})
    assert (later.status, later.json()["generation"]) == (200, first.json()["generation"] + 1)


def test_fold_answers_when_everything_acknowledged_before_is_counted(server: Server) -> None:
    for number in range(3):
        server.post([{"name": "folded", "id": f"folded-{number:02}"}])
        generation = server.fold()
        found = server.get("/admin/api/report", event="folded").json()
        assert found["generation"] == generation
        assert found["total"]["events"] == number + 1


def test_folds_that_are_asked_for_at_once_are_all_done(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(3):
            server.post([{"name": "at-once", "id": f"at-once-{number}"}])
            generations = list(pool.map(lambda _: server.fold(), range(8)))
            assert server.get("/admin/api/report", event="at-once").json()["total"]["events"] == number + 1
            assert min(generations) > number


def test_fold_that_is_asked_for_while_the_compactor_is_started_again_is_done(server: Server) -> None:
    try:
        os.kill(server.child("compact"), signal.SIGKILL)
        sent = f"POST /admin/api/fold HTTP/1.1\r\nHost: {SITE}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: 0\r\n\r\n"
        assert server.exchange(sent.encode()).status == 200
    finally:
        server.fold()


PAGE = ["/admin/", "/admin/page.js", "/admin/page.css", "/admin/uPlot.iife.min.js", "/admin/uPlot.min.css"]


@pytest.mark.parametrize("path", PAGE)
def test_page_loads_nothing_from_elsewhere_and_is_framed_by_nobody(server: Server, path: str) -> None:
    answer = server.request("GET", path)
    assert answer.status == 200
    policy = {
        part.split()[0]: part.split()[1:]
        for part in answer.headers["Content-Security-Policy"].split(";")
        if part.strip()
    }
    assert (
        policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    )
    assert policy["script-src"] == policy["connect-src"] == ["'self'"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", PAGE)
def test_page_holds_no_secret_and_no_other_address(server: Server, path: str) -> None:
    body = server.request("GET", path).body.decode("utf-8")
    assert ADMIN_TOKEN not in body
    assert INGEST_KEY not in body


@pytest.mark.parametrize("query", ["", "?by=path"])
def test_address_without_its_slash_leads_to_the_page(server: Server, query: str) -> None:
    answer = server.request("GET", f"/admin{query}")
    assert (answer.status, urljoin("https://example.com/stats/admin", answer.headers["Location"])) == (
        308,
        "https://example.com/stats/admin/",
    )


NOT_THERE = [
    "/admin/..%2f..%2fetc%2fpasswd",
    "/admin/../../etc/passwd",
    "/admin/%2e%2e/%2e%2e/etc/passwd",
    "/admin/..%5c..%5cetc%5cpasswd",
    "/admin//etc/passwd",
    "/admin/page.js%00.css",
    "/admin/page.js/",
    "/admin/__init__.py",
    "/admin/uPlot.LICENSE",
    "/admin/api",
    "/admin/api/",
    "/admin/api/nothing",
    "/ADMIN/",
    "/private/tokens.json",
    "/../data/private/tokens.json",
]


@pytest.mark.parametrize("path", NOT_THERE)
def test_path_that_is_not_there_is_404_with_or_without_a_token(server: Server, path: str) -> None:
    """Row 67."""
    for headers in ({}, bearer(ADMIN_TOKEN)):
        answer = server.request("GET", path, headers=headers)
        assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("route", [*ROUTES, FOLD])
def test_other_method_is_405(server: Server, route: str) -> None:
    method, _, path = route.partition(" ")
    answer = server.request("DELETE", path, headers=bearer(ADMIN_TOKEN))
    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "method", method)


@pytest.mark.parametrize(
    "path", [*(route.partition(" ")[2] for route in ROUTES), *PAGE, "/healthz", "/readyz", "/metrics"]
)
def test_no_answer_names_the_libraries_that_made_it(server: Server, path: str) -> None:
    assert server.get(path).headers["Server"] == "Foldlog"


@pytest.mark.long
def test_empty_server_answers_everything_with_nothing(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        snapshot = server.get("/admin/api/snapshot")
        assert (snapshot.status, snapshot.code) == (404, "no_snapshot")
        report = server.get("/admin/api/report").json()
        assert (report["rows"], report["total"]) == ([{"events": 0, "visitors": 0}], {"events": 0, "visitors": 0})
        assert server.get("/admin/api/report", by="path").json()["rows"] == []
        assert server.get(EXPORT).body == b""
        assert server.get(EXPORT, format="csv").body.count(b"\r\n") == 1
        status = server.get("/admin/api/status").json()
        assert set(status["balance"].values()) == {0}
        assert server.fold() == 1
        assert server.get("/admin/api/snapshot").status == 200
