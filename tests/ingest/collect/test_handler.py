"""POST /v1/events: what is in the log when the response comes (P1, P12), and what only
real processes can show.

Rows of tables are named by their rule in docs/bad-input.md.
"""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.generations.load import load_snapshot
from shared.lateness import LATENESS_MAX_MS
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Server
from tests.builders.waiting import TIMEOUT_S
from tests.builders.wire import (
    CONSENT,
    HOST,
    JSON,
    KEY,
    NDJSON,
    SAME_ORIGIN,
    VALID,
    asking,
    batch,
    bomb,
    chunked,
    coded,
    cookie,
    encoded,
    event,
    in_chunks,
    keyed,
    padded,
    page,
    wire,
    zstd,
)
from tests.builders.worker import Worker

PAGE_LIMIT = 64 << 10
KEY_LIMIT = 1 << 20
ADDRESS = "203.0.113.77"
MIB = 1 << 20
GZIP = gzip.compress(VALID)
NULLS = event(**dict.fromkeys(["id", "time", "visitor", "session", "url", "referrer", "value", "props"]))
FEED = b'{"name":"one"}\n{"name":"two"}'


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for all rows: after thousands of bad requests it still works, and its
    data directory verifies.
    """
    with Worker(tmp_path_factory.mktemp("accepted"), trusted_proxies="127.0.0.1") as running:
        yield running


# A request that is accepted, and the names of the events that it adds to the log.
ONE = ["pageview"]
ACCEPTED: dict[str, tuple[bytes, list[str]]] = {
    "valid-event: a valid event": (page(), ONE),
    "valid-event: with a key": (keyed(), ONE),
    "valid-event: with the admin token": (page(VALID, f"Authorization: Bearer {ADMIN_TOKEN}"), ONE),
    "ndjson: two lines": (page(FEED + b"\n", media_type=NDJSON), ["one", "two"]),
    "ndjson: no newline at the end": (page(FEED, media_type=NDJSON), ["one", "two"]),
    "lone-surrogate: an escaped lone surrogate": (page(batch(rb'{"name":"a\ud800"}')), ["a\ufffd"]),
    "lone-surrogate: in props": (page(batch(rb'{"name":"a","props":{"a":"\udc00"}}')), ["a"]),
    "media-type: text/plain, as sendBeacon sends it": (page(media_type="Content-Type: text/plain;charset=UTF-8"), ONE),
    "at-the-limit: page, exactly the limit": (page(padded(PAGE_LIMIT)), ONE),
    "at-the-limit: key, exactly the limit": (keyed(padded(KEY_LIMIT)), ONE),
    "chunks: chunks": (chunked(VALID[:5], VALID[5:6], VALID[6:]), ONE),
    "chunks: chunks of exactly the limit": (chunked(padded(PAGE_LIMIT)[:40_000], padded(PAGE_LIMIT)[40_000:]), ONE),
    "tiny-chunks: a chunk a byte": (chunked(*[bytes([byte]) for byte in padded(20_000)]), ONE),
    "tiny-chunks: 60,000 chunks of a byte": (
        coded(in_chunks(*[b"%c" % byte for byte in padded(60_000)]), who=KEY),
        ONE,
    ),
    "trailers: are not headers": (
        coded(in_chunks(VALID)[:-2] + b"Foldlog-Consent: denied\r\nDNT: 1\r\n\r\n"),
        ONE,
    ),
    "chunk-extension: a chunk extension": (coded(in_chunks(VALID).replace(b"\r\n", b";a=b\r\n", 1)), ONE),
    "long-header: header of 8000 bytes": (page(VALID, "X-Mark: " + "x" * 8000), ONE),
    "many-headers: 100 headers": (page(VALID, *[f"X-{n}: x" for n in range(100)]), ONE),
    "long-url: query of 8000 bytes": (
        wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/events?" + "x" * 8000),
        ONE,
    ),
    "host: Host in upper case, with a port": (page().replace(HOST.encode(), b"EXAMPLE.com:8080"), ONE),
    "compressed-body: gzip": (encoded("gzip", GZIP), ONE),
    "compressed-body: gzip in chunks of a byte": (
        coded(in_chunks(*[b"%c" % byte for byte in GZIP])).replace(b"\r\n", b"\r\nContent-Encoding: GZIP\r\n", 1),
        ONE,
    ),
    "bomb: gzip of a page, however thin": (encoded("gzip", gzip.compress(padded(PAGE_LIMIT))), ONE),
    "compressed-body: zstd": (encoded("zstd", zstd(VALID)), ONE),
    "gzip-members: gzip in two members": (encoded("gzip", gzip.compress(VALID[:9]) + gzip.compress(VALID[9:])), ONE),
    "gzip-members: gzip in 100 members": (encoded("gzip", GZIP + gzip.compress(b"") * 99), ONE),
    "large-integer: 2^53-1 and less": (page(batch(event(value=2**53 - 1, props={"a": -(2**53) + 1, "b": 1e300}))), ONE),
    "terminal-control: hazards outside of names": (page(batch(event(props={"a": "\x1b\x9b\x7f\u202e"}))), ONE),
    "object-keys: names from JavaScript": (
        page(batch(event(props={"crc": "x", "__proto__": "y", "constructor": 1}))),
        ONE,
    ),
    "bad-time: year 9999 is clamped": (page(batch(event(time="9999-12-31T23:59:59Z"))), ONE),
    "name-as-path: name that is a path": (page(batch(event(name="../../etc/passwd"))), ["../../etc/passwd"]),
    "name-as-path: name that is a device": (page(batch(event(name="CON"))), ["CON"]),
    "name-as-path: name with a leading point": (page(batch(event(name=".x"))), [".x"]),
    "name-as-html: name that is a script": (
        page(batch(event(name="<script>alert(1)</script>"))),
        ["<script>alert(1)</script>"],
    ),
    "name-as-formula: name that is a formula": (page(batch(event(name="=cmd|'/c calc'!A1"))), ["=cmd|'/c calc'!A1"]),
    "no-origin: key, though Origin null": (wire(KEY, "Origin: null", CONSENT, JSON, body=VALID), ONE),
    "no-origin: Origin is our host": (wire(f"Origin: https://{HOST}", CONSENT, JSON, body=VALID), ONE),
    "referer: Referer is our host": (wire(f"Referer: https://{HOST}/a", CONSENT, JSON, body=VALID), ONE),
    "cookies: consent among 500 other cookies": (cookie("x=1; " * 500 + "analytics_consent=granted"), ONE),
    "consent: in the cookie": (cookie("analytics_consent=granted"), ONE),
    "consent: in the batch": (wire(SAME_ORIGIN, JSON, body=VALID[:-1] + b',"consent":"granted"}'), ONE),
    "too-many-events: 500, the limit": (
        page(batch(*[event(name=f"n{n}") for n in range(500)])),
        [f"n{n}" for n in range(500)],
    ),
    "expect: 100-continue": (page(VALID, "Expect: 100-continue"), ONE),
    "not-http: HTTP/1.0 is accepted": (asking(b"POST /v1/events HTTP/1.0"), ONE),
    "upgrade: websocket": (page(VALID, "Connection: Upgrade", "Upgrade: websocket"), ONE),
    "repeated-key: texts that look like keys": (
        page(batch(event(props={'"a":': '"a":1,"a":', "b": '{"name":"x","name":"y"}'}))),
        ONE,
    ),
    "repeated-key: the same key in two objects": (page(batch(event(props={"name": "x", "props": "y"}))), ONE),
    "valid-event: explicit nulls": (page(b'{"events":[' + NULLS + b'],"sent_at":null,"consent":null}'), ONE),
    "valid-event: blanks before colons": (page(b'{"events" : [{"name" :"pageview" , "value" :1}]}'), ONE),
}


@pytest.mark.parametrize(("sent", "names"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_events_are_in_the_log_when_the_response_comes(worker: Worker, sent: bytes, names: list[str]) -> None:
    before = worker.position()
    answer = worker.exchange(sent)
    assert (answer.status, answer.json()) == (200, {"accepted": len(names), "rejected": []})
    assert [line["name"] for line in worker.appended(before)] == names


def test_line_has_the_fields_of_the_event_and_of_the_request(worker: Worker) -> None:
    before = worker.position()
    sent = event(id="line-00001", url="https://example.com/a", value=1.5, props={"plan": "pro"}, session="s-1")
    worker.exchange(page(batch(sent), "User-Agent: Mozilla/5.0 (X11)", "Accept-Language: de-DE,en"))
    (line,) = worker.appended(before)
    assert (line["id"], line["site"], line["consent"], line["language"]) == ("line-00001", HOST, "granted", "de")
    assert (line["ua"], line["url"], line["session"]) == ("Mozilla/5.0 (X11)", "https://example.com/a", "s-1")
    assert (line["value"], line["props"], line["time"]) == (1.5, {"plan": "pro"}, line["received"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", line["visitor"])


@pytest.mark.parametrize(
    ("sent", "sender"),
    [(page(), None), (keyed(), "key"), (page(VALID, f"Authorization: Bearer {ADMIN_TOKEN}"), "key")],
    ids=["a page", "a server", "a page with the admin token"],
)
def test_line_says_whether_a_key_was_sent(worker: Worker, sent: bytes, sender: str | None) -> None:
    before = worker.position()
    assert worker.exchange(sent).status == 200
    (line,) = worker.appended(before)
    assert (line["v"], line.get("sender")) == (2, sender)


@pytest.mark.parametrize("many", [1, 10], ids=["few", "many"])
@pytest.mark.parametrize("send", [page, keyed], ids=["a page", "a server"])
def test_late_events_without_a_visitor_have_another_one_on_each_day(
    worker: Worker, send: Callable[[bytes], bytes], many: int
) -> None:
    now = datetime.now(UTC)
    days = [(now - timedelta(days=age)).isoformat() for age in range(3)] * many
    before = worker.position()
    sent = [event(time=time) for time in days] + [event(time=days[-1], visitor="v-1"), event()]
    assert worker.exchange(send(batch(*sent))).status == 200
    *late, own, today = worker.appended(before)
    found = {(line["time"][:10], line["visitor"]) for line in [*late, today]}
    assert 3 <= len(found) == len({day for day, _ in found}) == len({visitor for _, visitor in found})
    assert {line["daily"] for line in [*late, today]} == {True}
    assert (own["visitor"], own.get("daily")) == ("v-1", None)


@pytest.mark.parametrize("body", [VALID, batch(event(), event(name=""))], ids=["good", "mixed"])
def test_dry_run_validates_and_stores_nothing(worker: Worker, body: bytes) -> None:
    wet = worker.exchange(page(body))
    before = worker.position()
    dry = worker.exchange(wire(SAME_ORIGIN, CONSENT, JSON, body=body, path="/v1/events?dry_run=1"))
    assert (dry.status, dry.json()) == (wet.status, wet.json())
    assert worker.position() == before


def test_pipelined_requests_are_answered_in_order(worker: Worker) -> None:
    before = worker.position()
    with socket.create_connection(("127.0.0.1", worker.port), TIMEOUT_S) as connection:
        connection.sendall(page(batch(event(name="first"))) + page(b"{") + page(batch(event(name="third"))))
        received = b""
        while received.count(b"HTTP/1.1 ") < 3 or not received.endswith(b"}"):
            received += connection.recv(65536)
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200", b"400", b"200"]
    assert [line["name"] for line in worker.appended(before)] == ["first", "third"]


NOT_UTF_8 = {
    "bad-utf8: User-Agent": page(VALID, "User-Agent: Mozilla/\xff"),
    "bad-utf8: Host": page().replace(HOST.encode(), b"\xff.example"),
    "bad-utf8: Origin": page(VALID, "Origin: https://\xff.example"),
    "bad-utf8: Referer": page(VALID, "Referer: https://\xff.example/"),
}


@pytest.mark.parametrize("sent", NOT_UTF_8.values(), ids=NOT_UTF_8)
def test_header_that_is_not_utf_8_does_no_harm(worker: Worker, sent: bytes) -> None:
    assert worker.exchange(sent).status in {200, 400, 403}
    assert worker.exchange(page()).status == 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One `foldlog serve`: its worker must survive every test."""
    with Server(tmp_path_factory.mktemp("collect"), trusted_proxies="127.0.0.1", log_level="debug") as running:
        pid = running.child("ingest-0")
        yield running
        assert running.child("ingest-0") == pid, "the worker was restarted"
        assert [line for line in running.stderr().splitlines() if "request_failed" in line or "Traceback" in line] == []


BAD_REQUESTS = {
    "malformed HTTP": (b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Mark : x\r\n\r\n", 400),
    "bad chunk": (coded(b"zz\r\n{}\r\n0\r\n\r\n"), 400),
    "truncated gzip": (encoded("gzip", GZIP[:20]), 400),
    "no origin": (wire(CONSENT, JSON, body=VALID), 403),
    "no consent": (wire(SAME_ORIGIN, JSON, body=VALID), 403),
    "too large": (page(padded(PAGE_LIMIT + 1)), 413),
    "no batch": (page(b"null"), 422),
    "a bad event": (page(batch(event(name="\x1b[2J"))), 422),
}


@pytest.mark.parametrize(("sent", "status"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_real_server_rejects_a_bad_request_and_stores_the_next(server: Server, sent: bytes, status: int) -> None:
    before = server.lines()
    assert server.exchange(sent).status == status
    assert server.exchange(page(batch(event(name="next")))).status == 200
    assert [line["name"] for line in server.lines()[len(before) :]] == ["next"]
    assert "from 127.0.0.1" not in server.stderr()


def test_key_in_the_query_string_is_not_logged(server: Server) -> None:
    server.exchange(wire(JSON, body=VALID, path=f"/v1/events?token={ADMIN_TOKEN}"))
    assert ADMIN_TOKEN not in server.stderr()
    assert INGEST_KEY not in server.stderr()


def test_bombs_do_not_fill_the_memory(server: Server) -> None:
    def resident_kib() -> int:
        status = Path(f"/proc/{server.child('ingest-0')}/status").read_text("ascii")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    sent = encoded("gzip", bomb())
    server.exchange(sent)
    before = resident_kib()
    for _ in range(50):
        assert server.exchange(sent).status == 413
    assert resident_kib() - before < 20 << 10


def test_id_counts_again_after_the_lateness_limit(tmp_path: Path) -> None:
    """Starts from the log: over HTTP, such a time would be too old."""
    data = data_directory(tmp_path)
    day_ms = LATENESS_MAX_MS // 3
    for days_later, counted in ((0, 1), (3, 1), (8, 2)):
        at_ms = NOON + days_later * day_ms
        sealed(data, [line("sent-again-1", at_ms)])
        fold(data, at_ms)
        assert load_snapshot(data).totals.counted == counted


def test_ids_that_differ_in_case_are_two_events(server: Server) -> None:
    assert (
        server.post([{"name": "case", "id": "Case-0001"}, {"name": "case", "id": "case-0001"}]).json()["accepted"] == 2
    )
    server.fold()
    assert server.get("/admin/api/report", event="case").json()["total"]["events"] == 2
