"""POST /v1/events of a real server: every row is a request as it stands on the wire, and what must become of it (P1, P12)."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard

from shared.timestamps import now_ms
from tests.server import ADMIN_TOKEN, INGEST_KEY, Answer, Server, read_answer

PAGE_LIMIT = 64 << 10
KEY_LIMIT = 1 << 20
HOST = "example.com"
ADDRESS = "203.0.113.77"
MIB = 1 << 20
AT_ONCE_S = 3.0
CLIENT_GONE = "ConnectionResetError"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all rows: after thousands of bad requests it must still be the same, and its data in order."""
    with Server(tmp_path_factory.mktemp("collect"), trusted_proxies="127.0.0.1") as running:
        worker = running.child("ingest-0")
        yield running
        assert running.child("ingest-0") == worker, "the worker was started again"
        assert defects(running) == []


def defects(server: Server) -> list[str]:
    """What the server logged as its own defect. Clients that went away are looked at by a test of their own."""
    found = [line for line in server.stderr().splitlines() if '"event":"defect"' in line]
    return [line for line in found if CLIENT_GONE not in line]


def event(**fields: object) -> bytes:
    return json.dumps({"name": "pageview"} | fields).encode("utf-8")


def batch(*events: bytes) -> bytes:
    return b'{"events":[' + b",".join(events) + b"]}"


VALID = batch(event())
JSON = "Content-Type: application/json"
NDJSON = "Content-Type: application/x-ndjson"
SAME_ORIGIN = "Sec-Fetch-Site: same-origin"
CONSENT = "Foldlog-Consent: granted"
KEY = f"Authorization: Bearer {INGEST_KEY}"


def wire(*headers: str, body: bytes = b"", method: str = "POST", path: str = "/v1/events", length: str | None = None) -> bytes:
    """A request with exactly these headers, Host and (unless `length` is empty) Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}"] if length != "" else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def page(body: bytes = VALID, *headers: str, media_type: str = JSON) -> bytes:
    """As a page of the same origin sends it, with consent."""
    return wire(SAME_ORIGIN, CONSENT, media_type, *headers, body=body)


def keyed(body: bytes = VALID, *headers: str) -> bytes:
    """As a server with a key sends it, with consent."""
    return wire(KEY, CONSENT, JSON, *headers, body=body)


def chunked(*chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    return wire(SAME_ORIGIN, CONSENT, JSON, "Transfer-Encoding: chunked", length="") + body


def padded(size: int) -> bytes:
    return VALID + b" " * (size - len(VALID))


def encoded(encoding: str, body: bytes) -> bytes:
    return page(body, f"Content-Encoding: {encoding}")


def zstd(content: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(content) + compressor.flush()


def appended(server: Server, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return server.lines()[len(before) :]


GZIP = gzip.compress(VALID)
BOMB = gzip.compress(bytes(60 * MIB))
FEED = b'{"name":"one"}\n{"name":"two"}'
OLD_MS = now_ms() - 40 * 86_400_000

# By the number of the row in the reference of bad input. A code of None: refused before our code sees the request.
MALFORMED = (400, "malformed")
TOO_LARGE = (413, "too_large")
MEDIA = (415, "media_type")
ENCODING = (415, "content_encoding")
ORIGIN = (403, "origin")
NO_CONSENT = (403, "consent")
INVALID = (422, "batch_invalid")
NOT_FOUND = (404, "not_found")

REFUSED: dict[str, tuple[bytes, tuple[int, str | None]]] = {
    "3 empty body": (page(b""), MALFORMED),
    "3 blank body": (page(b" \r\n"), MALFORMED),
    "4 neither length nor chunks": (wire(SAME_ORIGIN, CONSENT, JSON, length=""), MALFORMED),
    "6 page, 1 byte more than the limit": (page(padded(PAGE_LIMIT + 1)), TOO_LARGE),
    "6 key, 1 byte more than the limit": (keyed(padded(KEY_LIMIT + 1)), TOO_LARGE),
    "7 huge length and no body": (wire(SAME_ORIGIN, CONSENT, JSON, length="99999999999"), TOO_LARGE),
    "7 huge length and no body, with a key": (wire(KEY, CONSENT, JSON, length="99999999999"), TOO_LARGE),
    "8 length -5": (wire(SAME_ORIGIN, CONSENT, JSON, length="-5"), (400, None)),
    "8 length +7": (wire(SAME_ORIGIN, CONSENT, JSON, length="+7"), (400, None)),
    "8 length 0x7": (wire(SAME_ORIGIN, CONSENT, JSON, length="0x7"), (400, None)),
    "8 length 7_0": (wire(SAME_ORIGIN, CONSENT, JSON, length="7_0"), (400, None)),
    "8 length of 5000 digits": (wire(SAME_ORIGIN, CONSENT, JSON, length="9" * 5000), (400, None)),
    "12 chunks beyond the limit": (chunked(*[b" " * 16384] * 5), TOO_LARGE),
    "12 one chunk beyond the limit": (chunked(b" " * 200_000), TOO_LARGE),
    "11 no chunks": (chunked(), MALFORMED),
    "24 GET": (wire(SAME_ORIGIN, method="GET"), (405, "method")),
    "24 PUT": (wire(SAME_ORIGIN, JSON, method="PUT", body=VALID), (405, "method")),
    "24 DELETE": (wire(SAME_ORIGIN, method="DELETE"), (405, "method")),
    "24 TRACE": (wire(SAME_ORIGIN, method="TRACE"), (405, "method")),
    "32 gzip without its trailer": (encoded("gzip", GZIP[:-8]), MALFORMED),
    "33 gzip cut in the middle": (encoded("gzip", GZIP[:20]), MALFORMED),
    "34 gzip with a wrong CRC": (encoded("gzip", GZIP[:-8] + b"\0" * 8), MALFORMED),
    "35 gzip that is plain JSON": (encoded("gzip", VALID), MALFORMED),
    "36 gzip with bytes after it": (encoded("gzip", GZIP + VALID), MALFORMED),
    "37 gzip bomb": (encoded("gzip", BOMB), TOO_LARGE),
    "37 zstd bomb": (encoded("zstd", zstd(bytes(60 * MIB))), TOO_LARGE),
    "38 deflate, raw": (encoded("deflate", zlib.compress(VALID, wbits=-15)), ENCODING),
    "38 deflate, zlib": (encoded("deflate", zlib.compress(VALID)), ENCODING),
    "39 br": (encoded("br", b"\x0b\x02\x80junk"), ENCODING),
    "40 zstd cut short": (encoded("zstd", zstd(VALID)[:-3]), MALFORMED),
    "41 an unknown encoding": (encoded("foo", VALID), ENCODING),
    "42 media type missing": (wire(SAME_ORIGIN, CONSENT, body=VALID), MEDIA),
    "42 HTML": (page(media_type="Content-Type: text/html"), MEDIA),
    "42 a form": (page(media_type="Content-Type: application/x-www-form-urlencoded"), MEDIA),
    "42 multipart": (page(media_type="Content-Type: multipart/form-data; boundary=x"), MEDIA),
    "43 charset UTF-16": (page(VALID.decode().encode("utf-16"), media_type=f"{JSON}; charset=utf-16"), MEDIA),
    "43 UTF-16 bytes": (page(VALID.decode().encode("utf-16")), MALFORMED),
    "44 BOM": (page(b"\xef\xbb\xbf" + VALID), MALFORMED),
    "45 invalid UTF-8": (page(batch(b'{"name":"\xff"}')), MALFORMED),
    "45 overlong UTF-8": (page(batch(b'{"name":"\xc0\xaf"}')), MALFORMED),
    "45 a surrogate in UTF-8": (page(batch(b'{"name":"\xed\xa0\x80"}')), MALFORMED),
    "46 an escaped lone surrogate": (page(batch(rb'{"name":"\ud800"}')), MALFORMED),
    "47 NaN": (page(batch(b'{"name":"x","value":NaN}')), MALFORMED),
    "47 Infinity": (page(batch(b'{"name":"x","value":Infinity}')), MALFORMED),
    "47 -Infinity": (page(batch(b'{"name":"x","value":-Infinity}')), MALFORMED),
    "52 depth 1025": (page(batch(b'{"name":"x","props":{"a":' + b"[" * 1025 + b"]" * 1025 + b"}}")), MALFORMED),
    "52 depth 100000": (keyed(b"[" * 100_000), MALFORMED),
    "54 a bare array": (page(b"[" + event() + b"]"), MALFORMED),
    "54 a text": (page(b'"x"'), INVALID),
    "54 null": (page(b"null"), INVALID),
    "54 a number": (page(b"5"), INVALID),
    "54 true": (page(b"true"), INVALID),
    "54 an empty object": (page(b"{}"), INVALID),
    "55 two values": (page(VALID + b" " + VALID), MALFORMED),
    "55 a trailing comma": (page(b'{"events":[' + event() + b",]}"), MALFORMED),
    "55 a comment": (page(VALID + b"/* x */"), MALFORMED),
    "55 single quotes": (page(VALID.replace(b'"', b"'")), MALFORMED),
    "55 01": (page(batch(b'{"name":"x","value":01}')), MALFORMED),
    "55 .5": (page(batch(b'{"name":"x","value":.5}')), MALFORMED),
    "55 +1": (page(batch(b'{"name":"x","value":+1}')), MALFORMED),
    "55 hexadecimal": (page(batch(b'{"name":"x","value":0x1f}')), MALFORMED),
    "56 a raw newline": (page(batch(b'{"name":"a\nb"}')), MALFORMED),
    "56 a raw tab": (page(batch(b'{"name":"a\tb"}')), MALFORMED),
    "56 a raw NUL": (page(batch(b'{"name":"a\0b"}')), MALFORMED),
    "68 a slash after the path": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/events/"), NOT_FOUND),
    "68 two slashes before the path": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="//v1/events"), NOT_FOUND),
    "68 the path in upper case": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/V1/events"), NOT_FOUND),
    "71 wrong key": (wire("Authorization: Bearer wrong", CONSENT, JSON, body=VALID), (401, "key")),
    "71 wrong key, though of the same origin": (page(VALID, "Authorization: Bearer wrong"), (401, "key")),
    "71 the beginning of a key": (page(VALID, f"Authorization: Bearer {INGEST_KEY[:-1]}"), (401, "key")),
    "71 a key without a scheme": (page(VALID, f"Authorization: {INGEST_KEY}"), (401, "key")),
    "71 a key that is not ASCII": (page(VALID, "Authorization: Bearer \xff\xfe"), (401, "key")),
    "71 a key of a megabyte": (page(VALID, f"Authorization: Bearer {'x' * MIB}"), (400, None)),
    "72 key in the query string": (wire(CONSENT, JSON, body=VALID, path=f"/v1/events?key={INGEST_KEY}"), ORIGIN),
    "75 nothing to go by": (wire(CONSENT, JSON, body=VALID), ORIGIN),
    "75 Origin null": (wire("Origin: null", CONSENT, JSON, body=VALID), ORIGIN),
    "75 Origin null, cross-site": (wire("Origin: null", "Sec-Fetch-Site: cross-site", CONSENT, JSON, body=VALID), ORIGIN),
    "75 Origin of another site": (wire("Origin: https://evil.example", CONSENT, JSON, body=VALID), ORIGIN),
    "76 Referer of another site": (wire("Referer: https://evil.example/example.com", CONSENT, JSON, body=VALID), ORIGIN),
    "80 DNT": (page(VALID, "DNT: 1"), NO_CONSENT),
    "80 GPC": (page(VALID, "Sec-GPC: 1"), NO_CONSENT),
    "80 no consent": (wire(SAME_ORIGIN, JSON, body=VALID), NO_CONSENT),
    "80 consent denied in the header": (wire(SAME_ORIGIN, JSON, "Foldlog-Consent: denied", body=VALID), NO_CONSENT),
    "80 consent denied in the batch": (page(b'{"events":[{"name":"x"}],"consent":"denied"}'), NO_CONSENT),
    "80 consent forged in another cookie": (wire(SAME_ORIGIN, JSON, "Cookie: x=granted", body=VALID), NO_CONSENT),
    "too many events": (page(batch(*[event()] * 501)), (413, "too_many_events")),
    "no events": (page(b'{"events":[]}'), (422, "batch_empty")),
    "a field beside the events": (page(b'{"events":[{"name":"x"}],"site":"x"}'), INVALID),
    "broken NDJSON line": (page(FEED[:-1], media_type=NDJSON), MALFORMED),
}


@pytest.mark.parametrize(("sent", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused_request_says_why_at_once_and_stores_nothing(
    server: Server, sent: bytes, expected: tuple[int, str | None]
) -> None:
    before = server.lines()
    started = time.monotonic()
    answer = server.exchange(sent)
    assert time.monotonic() - started < AT_ONCE_S
    assert (answer.status, answer.code if expected[1] else None) == expected, answer
    assert appended(server, before) == []
    if answer.code:
        assert set(answer.json()) == {"type", "title", "status", "code", "detail"}
        assert answer.json()["status"] == answer.status
    if answer.status == 405:
        assert answer.headers["Allow"] == "POST"
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"]


# One bad event between two good ones: its code and field, while the others are stored.
REJECTED: dict[str, tuple[bytes, str, str | None]] = {
    "48 1e400": (b'{"name":"x","value":1e400}', "value_out_of_range", "value"),
    "49 an integer of 5000 digits": (b'{"name":"x","value":' + b"9" * 5000 + b"}", "value_out_of_range", "value"),
    "49 the same in props": (b'{"name":"x","props":{"a":' + b"9" * 5000 + b"}}", "props_out_of_range", "props"),
    "57 a newline in the name": (event(name="a\nb"), "name_invalid", "name"),
    "58 ESC in the name": (event(name="\x1b[2J"), "name_invalid", "name"),
    "58 C1 in the name": (event(name="\x9b2J"), "name_invalid", "name"),
    "58 DEL in the name": (event(name="\x7f"), "name_invalid", "name"),
    "58 bidi in the name": (event(name="\u202e"), "name_invalid", "name"),
    "58 U+2028 in the name": (event(name="\u2028"), "name_invalid", "name"),
    "59 id in NFC": (event(id="identité-1"), "id_invalid", "id"),
    "60 id empty": (event(id=""), "id_too_short", "id"),
    "60 id a number": (event(id=123456789), "id_type", "id"),
    "60 id of 30 KB": (event(id="x" * 30_000), "id_too_long", "id"),
    "60 id with spaces": (event(id="12345 678"), "id_invalid", "id"),
    "64 an unknown field": (event(nmae="x"), "unknown_field", "nmae"),
    "65 time abc": (event(time="abc"), "time_invalid", "time"),
    "65 time -1": (event(time=-1), "time_out_of_range", "time"),
    "65 40 days old": (event(time=OLD_MS), "too_old", "time"),
    "65 a leap second": (event(time="2026-11-22T15:59:60Z"), "time_invalid", "time"),
    "65 no zone": (event(time="2026-11-22T15:59:59"), "time_invalid", "time"),
    "66 name of 300 characters": (event(name="x" * 300), "name_too_long", "name"),
    "an event that is a text": (b'"x"', "event_type", None),
    "an event of 33 KiB": (event(props={"a": "x" * (33 << 10)}), "event_too_large", None),
}


@pytest.mark.parametrize(("bad", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_bad_event_is_rejected_and_its_neighbours_are_stored(server: Server, bad: bytes, code: str, field: str | None) -> None:
    before = server.lines()
    answer = server.exchange(page(batch(event(name="left"), bad, event(name="right"))))
    assert answer.status == 200
    (rejected,) = answer.json()["rejected"]
    assert (answer.json()["accepted"], rejected["index"], rejected["code"], rejected.get("field")) == (2, 1, code, field)
    assert rejected["detail"]
    assert [line["name"] for line in appended(server, before)] == ["left", "right"]


@pytest.mark.parametrize(("bad", "code", "_field"), REJECTED.values(), ids=REJECTED)
def test_batch_of_nothing_but_bad_events_is_422(server: Server, bad: bytes, code: str, _field: str | None) -> None:
    before = server.lines()
    answer = server.exchange(keyed(batch(bad, bad)))
    assert answer.status == 422
    assert answer.headers.get_content_type() == "application/json"
    assert [(found["index"], found["code"]) for found in answer.json()["rejected"]] == [(0, code), (1, code)]
    assert answer.json()["accepted"] == 0
    assert appended(server, before) == []


# A request that is accepted, and the names of the events that it adds to the log.
ONE = ["pageview"]
STORED: dict[str, tuple[bytes, list[str]]] = {
    "1 a valid event": (page(), ONE),
    "1 with a key": (keyed(), ONE),
    "1 with the admin token": (page(VALID, f"Authorization: Bearer {ADMIN_TOKEN}"), ONE),
    "2 NDJSON": (page(FEED + b"\n", media_type=NDJSON), ["one", "two"]),
    "2 NDJSON without a last newline": (page(FEED, media_type=NDJSON), ["one", "two"]),
    "sendBeacon": (page(media_type="Content-Type: text/plain;charset=UTF-8"), ONE),
    "5 page, exactly the limit": (page(padded(PAGE_LIMIT)), ONE),
    "5 key, exactly the limit": (keyed(padded(KEY_LIMIT)), ONE),
    "11 chunks": (chunked(VALID[:5], VALID[5:6], VALID[6:]), ONE),
    "11 chunks of exactly the limit": (chunked(padded(PAGE_LIMIT)[:40_000], padded(PAGE_LIMIT)[40_000:]), ONE),
    "16 a chunk a byte": (chunked(*[bytes([byte]) for byte in padded(20_000)]), ONE),
    "31 gzip": (encoded("gzip", GZIP), ONE),
    "31 zstd": (encoded("zstd", zstd(VALID)), ONE),
    "36 gzip in two members": (encoded("gzip", gzip.compress(VALID[:9]) + gzip.compress(VALID[9:])), ONE),
    "58 hazards outside of names": (page(batch(event(props={"a": "\x1b\x9b\x7f\u202e"}))), ONE),
    "63 names from JavaScript": (page(batch(event(props={"crc": "x", "__proto__": {}.__doc__, "constructor": 1}))), ONE),
    "65 year 9999 is clamped": (page(batch(event(time="9999-12-31T23:59:59Z"))), ONE),
    "66 name that is a path": (page(batch(event(name="../../etc/passwd"))), ["../../etc/passwd"]),
    "66 name that is a device": (page(batch(event(name="CON"))), ["CON"]),
    "66 name with a leading point": (page(batch(event(name=".x"))), [".x"]),
    "69 name that is a script": (page(batch(event(name="<script>alert(1)</script>"))), ["<script>alert(1)</script>"]),
    "70 name that is a formula": (page(batch(event(name="=cmd|'/c calc'!A1"))), ["=cmd|'/c calc'!A1"]),
    "75 key, though Origin null": (wire(KEY, "Origin: null", CONSENT, JSON, body=VALID), ONE),
    "75 Origin is our host": (wire(f"Origin: https://{HOST}", CONSENT, JSON, body=VALID), ONE),
    "76 Referer is our host": (wire(f"Referer: https://{HOST}/a", CONSENT, JSON, body=VALID), ONE),
    "80 consent in the cookie": (wire(SAME_ORIGIN, JSON, "Cookie: analytics_consent=granted", body=VALID), ONE),
    "80 consent in the batch": (wire(SAME_ORIGIN, JSON, body=VALID[:-1] + b',"consent":"granted"}'), ONE),
    "500 events": (page(batch(*[event(name=f"n{n}") for n in range(500)])), [f"n{n}" for n in range(500)]),
    "Expect: 100-continue": (page(VALID, "Expect: 100-continue"), ONE),
}


@pytest.mark.parametrize(("sent", "names"), STORED.values(), ids=STORED)
def test_accepted_events_are_in_the_log_when_the_answer_comes(server: Server, sent: bytes, names: list[str]) -> None:
    before = server.lines()
    answer = server.exchange(sent)
    assert (answer.status, answer.json()) == (200, {"accepted": len(names), "rejected": []})
    assert [line["name"] for line in appended(server, before)] == names


def test_every_acknowledged_id_is_in_the_log(server: Server) -> None:
    ids = [f"acknowledged-{n:04}" for n in range(100)]
    for id_ in ids:
        assert server.post([{"name": "x", "id": id_}]).status == 200
        assert id_ in {line["id"] for line in server.lines()}


def test_line_holds_what_the_event_and_the_request_said(server: Server) -> None:
    before = server.lines()
    sent = event(id="line-00001", url="https://example.com/a", value=1.5, props={"plan": "pro"}, session="s-1")
    server.exchange(page(batch(sent), "User-Agent: Mozilla/5.0 (X11)", "Accept-Language: de-DE,en"))
    (line,) = appended(server, before)
    assert (line["id"], line["site"], line["consent"], line["language"]) == ("line-00001", HOST, "granted", "de")
    assert (line["ua"], line["url"], line["session"]) == ("Mozilla/5.0 (X11)", "https://example.com/a", "s-1")
    assert (line["value"], line["props"], line["time"]) == (1.5, {"plan": "pro"}, line["received"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", line["visitor"])


@pytest.mark.parametrize("body", [VALID, batch(event(), event(name=""))], ids=["good", "mixed"])
def test_dry_run_gives_verdicts_and_stores_nothing(server: Server, body: bytes) -> None:
    before = server.lines()
    wet = server.exchange(page(body))
    after = server.lines()
    dry = server.exchange(wire(SAME_ORIGIN, CONSENT, JSON, body=body, path="/v1/events?dry_run=1"))
    assert (dry.status, dry.json()) == (wet.status, wet.json())
    assert len(after) == len(before) + 1
    assert server.lines() == after


def test_address_of_the_client_is_neither_stored_nor_logged(server: Server) -> None:
    """The visitor is a hash of it, so it was used."""
    before = server.lines()
    for address in (ADDRESS, "203.0.113.78"):
        server.exchange(page(VALID, f"X-Forwarded-For: {address}"))
        server.exchange(page(b"{", f"X-Forwarded-For: {address}"))
    visitors = [line["visitor"] for line in appended(server, before)]
    assert len(set(visitors)) == 2
    for path in server.data.root.rglob("*"):
        if path.is_file():
            assert ADDRESS.encode() not in path.read_bytes(), path
    assert ADDRESS not in server.stderr()


def test_key_in_the_query_string_is_not_logged(server: Server) -> None:
    server.exchange(wire(JSON, body=VALID, path=f"/v1/events?token={ADMIN_TOKEN}"))
    assert ADMIN_TOKEN not in server.stderr()
    assert INGEST_KEY not in server.stderr()


MARKED = "SECRETMARK"
ECHOES: dict[str, bytes] = {
    "path": wire(JSON, body=VALID, path=f"/v1/{MARKED}"),
    "query": wire(JSON, body=VALID, path=f"/v1/events?{MARKED}"),
    "media type": page(media_type=f"Content-Type: text/{MARKED}"),
    "encoding": page(VALID, f"Content-Encoding: {MARKED}"),
    "origin": wire(f"Origin: https://{MARKED}", JSON, body=VALID),
    "key": page(VALID, f"Authorization: Bearer {MARKED}"),
    "consent": wire(SAME_ORIGIN, JSON, f"Foldlog-Consent: {MARKED}", body=VALID),
    "body that is not JSON": page(MARKED.encode()),
    "text as batch": page(f'"{MARKED}"'.encode()),
    "name": page(batch(event(name=MARKED + "\x1b"))),
    "time": page(batch(event(time=MARKED))),
    "visitor": page(batch(event(visitor=MARKED * 20))),
    "props": page(batch(event(props={MARKED: {}}))),
}


@pytest.mark.parametrize("sent", ECHOES.values(), ids=ECHOES)
def test_answer_repeats_nothing_that_the_client_sent(server: Server, sent: bytes) -> None:
    answer = server.exchange(sent)
    assert 400 <= answer.status < 500
    assert MARKED.lower() not in answer.body.decode("utf-8").lower()


BROKEN_HTTP = {
    "a broken header": f"POST /v1/events HTTP/1.1\r\nHost: x\r\n{MARKED} : x\r\n\r\n".encode(),
    "a broken length": wire(JSON, length=MARKED),
    "an unknown method": wire(method=MARKED),
    "a long header": wire(f"X-Mark: {MARKED * 1000}"),
}


@pytest.mark.parametrize("sent", BROKEN_HTTP.values(), ids=BROKEN_HTTP)
def test_broken_http_is_a_problem_without_an_echo_too(server: Server, sent: bytes) -> None:
    answer = server.exchange(sent)
    assert answer.status == 400
    assert MARKED not in answer.body.decode("utf-8")
    assert answer.code


def test_broken_http_does_not_log_the_address(server: Server) -> None:
    server.exchange(BROKEN_HTTP["a broken header"])
    assert "from 127.0.0.1" not in server.stderr()


def test_bombs_do_not_fill_the_memory(server: Server) -> None:
    def resident_kib() -> int:
        status = Path(f"/proc/{server.child('ingest-0')}/status").read_text("ascii")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    server.exchange(encoded("gzip", BOMB))
    before = resident_kib()
    for _ in range(50):
        assert server.exchange(encoded("gzip", BOMB)).status == 413
    assert resident_kib() - before < 20 << 10


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), 10) as opened:
        yield opened


def exchange(connection: socket.socket, sent: bytes) -> Answer:
    connection.sendall(sent)
    return read_answer(connection)


SURVIVED = [name for name in REFUSED if REFUSED[name][1][1] not in {None, "too_large"}]


@pytest.mark.parametrize("name", SURVIVED)
def test_kept_alive_connection_survives_a_refusal(connection: socket.socket, name: str) -> None:
    sent, (status, _) = REFUSED[name]
    assert exchange(connection, sent).status == status
    assert exchange(connection, page()).status == 200


def test_kept_alive_connection_survives_a_rejected_batch(connection: socket.socket) -> None:
    assert exchange(connection, page(batch(event(name="")))).status == 422
    assert exchange(connection, page()).status == 200


def test_pipelined_requests_are_answered_in_order(connection: socket.socket, server: Server) -> None:
    """Row 27."""
    before = server.lines()
    connection.sendall(page(batch(event(name="first"))) + page(b"{") + page(batch(event(name="third"))))
    answers = b""
    while answers.count(b"HTTP/1.1 ") < 3 or not answers.endswith(b"}"):
        answers += connection.recv(65536)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"400", b"200"]
    assert [line["name"] for line in appended(server, before)] == ["first", "third"]


CUT_OFF = {"in the body": page()[:-5], "in a chunk": chunked(VALID)[:-9], "in the head": wire(SAME_ORIGIN, JSON)[:-9]}


@pytest.mark.parametrize("sent", CUT_OFF.values(), ids=CUT_OFF)
def test_client_that_goes_away_stores_nothing_and_harms_nobody(server: Server, sent: bytes) -> None:
    """Row 30."""
    before = server.lines()
    with socket.create_connection(("127.0.0.1", server.port), 5) as gone:
        gone.sendall(sent)
    time.sleep(0.1)
    assert server.exchange(page(batch(event(name="next")))).status == 200
    assert [line["name"] for line in appended(server, before)] == ["next"]


def test_client_that_goes_away_is_no_defect(server: Server) -> None:
    """Row 30."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as gone:
        gone.sendall(CUT_OFF["in the body"])
    time.sleep(0.2)
    assert CLIENT_GONE not in server.stderr()


def test_id_that_is_sent_again_counts_once(server: Server) -> None:
    """Rows 61, 62 and 84: in one batch, after a fold, and with another payload."""
    server.fold()
    before = server.get("/admin/api/status").json()["balance"]
    again = {"name": "again", "id": "sent-again-1"}
    assert server.post([again, again]).json() == {"accepted": 2, "rejected": []}
    server.fold()
    assert server.post([again]).json() == {"accepted": 1, "rejected": []}
    assert server.post([again | {"name": "another"}]).json() == {"accepted": 1, "rejected": []}
    server.fold()
    after = server.get("/admin/api/status").json()["balance"]
    grown = {name: after[name] - before[name] for name in after}
    assert (grown["accepted"], grown["counted"], grown["duplicates"], grown["conflicts"]) == (4, 1, 3, 1)
    assert after["difference"] == 0
    total = server.get("/admin/api/report", event="again").json()["total"]
    assert total["events"] == 1
    assert server.get("/admin/api/report", event="another").json()["total"]["events"] == 0


def test_ids_that_differ_in_case_are_two_events(server: Server) -> None:
    """Row 59."""
    assert server.post([{"name": "case", "id": "Case-0001"}, {"name": "case", "id": "case-0001"}]).json()["accepted"] == 2
    server.fold()
    assert server.get("/admin/api/report", event="case").json()["total"]["events"] == 2


def test_body_that_ends_after_sigterm_is_answered_or_refused_at_once(tmp_path: Path) -> None:
    """Row 83."""
    with Server(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port), 2) as connection:
        try:
            sent = page(batch(event(id="late-0001")))
            connection.sendall(sent[:-10])
            time.sleep(0.2)
            os.kill(server.child("ingest-0"), signal.SIGTERM)
            time.sleep(0.2)
            status = exchange(connection, sent[-10:]).status
            assert status in {200, 503}
            assert ("late-0001" in {line["id"] for line in server.lines()}) == (status == 200)
        finally:
            server.kill()


def test_stop_is_no_crash(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.stop() == 0
        assert "Fatal Python error" not in server.stderr()


NOT_UTF_8 = {
    "User-Agent": page(VALID, "User-Agent: Mozilla/\xff"),
    "Host": page().replace(HOST.encode(), b"\xff.example"),
    "Origin": page(VALID, "Origin: https://\xff.example"),
    "Referer": page(VALID, "Referer: https://\xff.example/"),
}


def test_header_that_is_not_utf_8_harms_nobody(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        try:
            for header, sent in NOT_UTF_8.items():
                assert server.exchange(sent, timeout_s=2).status in {200, 400, 403}, header
                assert server.exchange(page(), timeout_s=2).status == 200
        finally:
            server.kill()


def test_without_sync_the_answer_is_202(tmp_path: Path) -> None:
    with Server(tmp_path, durability="os") as server:
        assert server.post([{"name": "x"}]).status == 202
        assert server.post([{"name": "x"}, {"name": ""}]).status == 202
        assert server.post([{"name": ""}]).status == 422
        assert [line["name"] for line in server.lines()] == ["x", "x"]


def test_nearly_full_disk_is_507_with_retry_after_and_stores_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, disk_reserve="1000000 GiB") as server:
        for sent in (page(), keyed()):
            answer = server.exchange(sent)
            assert (answer.status, answer.code) == (507, "disk_reserve")
            assert int(answer.headers["Retry-After"]) > 0
        assert server.lines() == []
        assert server.exchange(wire(JSON, body=VALID)).status == 403
        assert server.get("/admin/api/status").status == 200
        assert server.fold() == 1


def test_stop_under_load_acknowledges_only_what_is_on_disk(tmp_path: Path) -> None:
    """Row 83: what comes too late is refused or cut off, and the exit is in order (`with` asserts it)."""
    with Server(tmp_path) as server:
        acknowledged: list[str] = []
        others: set[int] = set()

        def send(client: int) -> None:
            with suppress(OSError, http.client.HTTPException):
                for number in range(10_000):
                    id_ = f"client{client}-{number:05}"
                    status = server.post([{"name": "x", "id": id_}]).status
                    if status == 200:
                        acknowledged.append(id_)
                    else:
                        others.add(status)

        clients = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.5)
        assert server.stop() == 0
        for client in clients:
            client.join(10)
        assert acknowledged
        assert others <= {503}
        ids = [line["id"] for line in server.lines()]
        assert set(acknowledged) <= set(ids)
        assert len(ids) == len(set(ids)) <= len(acknowledged) + len(clients)
