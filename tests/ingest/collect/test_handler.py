"""POST /v1/events of a real server: every row is a request as it stands on the wire,
and what must become of it (P1, P12).
"""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.generations.load import load_snapshot
from shared.lateness import LATENESS_MAX_MS
from shared.timestamps import now_ms
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Server
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
    chunked,
    coded,
    cookie,
    encoded,
    event,
    exchange,
    in_chunks,
    keyed,
    nested,
    padded,
    page,
    wire,
    with_line,
    zstd,
    zstd_window,
)

PAGE_LIMIT = 64 << 10
KEY_LIMIT = 1 << 20
ADDRESS = "203.0.113.77"
MIB = 1 << 20
AT_ONCE_S = 5.0  # whoever waits for the body waits longer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all rows: after thousands of bad requests it must still be the
    same, and its data in order.
    """
    with Server(tmp_path_factory.mktemp("collect"), trusted_proxies="127.0.0.1") as running:
        worker = running.child("ingest-0")
        yield running
        assert running.child("ingest-0") == worker, "the worker was started again"
        assert defects(running) == []


def defects(server: Server) -> list[str]:
    """What the server logged as its own defect, or did not mean to log at all."""
    return [line for line in server.stderr().splitlines() if '"event":"request_failed"' in line or "Traceback" in line]


def appended(server: Server, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return server.lines()[len(before) :]


GZIP = gzip.compress(VALID)
# Within the limit of a key, but of nothing: 900 KB in 1 KB.
THIN = padded(900_000)
THIN_GZIP = gzip.compress(THIN)
BOMB = gzip.compress(bytes(60 * MIB))
NULLS = event(**dict.fromkeys(["id", "time", "visitor", "session", "url", "referrer", "value", "props"]))
FEED = b'{"name":"one"}\n{"name":"two"}'
OLD_MS = now_ms() - 40 * 86_400_000

# By the number of the row in the matrix of bad input;
# tests/ingest/http/test_hostile_clients.py looks that no row is missing.
BROKEN = (400, "http")
MALFORMED = (400, "malformed")
TOO_LARGE = (413, "too_large")
MEDIA = (415, "media_type")
ENCODING = (415, "content_encoding")
ORIGIN = (403, "origin")
NO_CONSENT = (403, "consent")
INVALID = (422, "batch_invalid")
NOT_FOUND = (404, "not_found")

REFUSED: dict[str, tuple[bytes, tuple[int, str]]] = {
    "3 empty body": (page(b""), MALFORMED),
    "3 blank body": (page(b" \r\n"), MALFORMED),
    "4 neither length nor chunks": (wire(SAME_ORIGIN, CONSENT, JSON, length=""), MALFORMED),
    "6 page, 1 byte more than the limit": (page(padded(PAGE_LIMIT + 1)), TOO_LARGE),
    "6 key, 1 byte more than the limit": (keyed(padded(KEY_LIMIT + 1)), TOO_LARGE),
    "7 huge length and no body": (wire(SAME_ORIGIN, CONSENT, JSON, length="99999999999"), TOO_LARGE),
    "7 huge length and no body, with a key": (wire(KEY, CONSENT, JSON, length="99999999999"), TOO_LARGE),
    "8 length -5": (wire(SAME_ORIGIN, CONSENT, JSON, length="-5"), BROKEN),
    "8 length +7": (wire(SAME_ORIGIN, CONSENT, JSON, length="+7"), BROKEN),
    "8 length 0x7": (wire(SAME_ORIGIN, CONSENT, JSON, length="0x7"), BROKEN),
    "8 length 7_0": (wire(SAME_ORIGIN, CONSENT, JSON, length="7_0"), BROKEN),
    "8 length of 5000 digits": (wire(SAME_ORIGIN, CONSENT, JSON, length="9" * 5000), BROKEN),
    "8 length empty": (wire(SAME_ORIGIN, CONSENT, JSON, length=" "), BROKEN),
    "8 length a list": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, length=f"{len(VALID)}, {len(VALID)}"), BROKEN),
    "9 the same length twice": (page(VALID, f"Content-Length: {len(VALID)}"), BROKEN),
    "9 two lengths": (page(VALID, "Content-Length: 1"), BROKEN),
    "10 length and chunks": (
        wire(SAME_ORIGIN, CONSENT, JSON, "Transfer-Encoding: chunked", body=in_chunks(VALID)),
        BROKEN,
    ),
    "10 chunks and length": (coded(in_chunks(VALID)).replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1), BROKEN),
    "12 chunks beyond the limit": (chunked(*[b" " * 16384] * 5), TOO_LARGE),
    "12 one chunk beyond the limit": (chunked(b" " * 200_000), TOO_LARGE),
    "11 no chunks": (chunked(), MALFORMED),
    "13 chunk size zz": (coded(b"zz\r\n{}\r\n0\r\n\r\n"), BROKEN),
    "13 chunk size 0x7": (coded(b"0x7\r\n1234567\r\n0\r\n\r\n"), BROKEN),
    "13 chunk size -5": (coded(b"-5\r\n12345\r\n0\r\n\r\n"), BROKEN),
    "13 chunk size +5": (coded(b"+5\r\n12345\r\n0\r\n\r\n"), BROKEN),
    "13 chunk size empty": (coded(b"\r\n{}\r\n0\r\n\r\n"), BROKEN),
    "13 chunk size beyond 64 bits": (coded(b"1" + b"0" * 16 + b"\r\n"), BROKEN),
    "13 bare LF between chunks": (coded(in_chunks(VALID).replace(b"\r\n", b"\n")), BROKEN),
    "13 chunk longer than its size": (coded(in_chunks(VALID).replace(b"\r\n0", b"xx\r\n0")), BROKEN),
    "14 coding xchunked": (coded(in_chunks(VALID), "xchunked"), BROKEN),
    "14 coding identity": (coded(in_chunks(VALID), "identity"), BROKEN),
    "14 chunked, identity": (coded(in_chunks(VALID), "chunked, identity"), BROKEN),
    "14 chunked, chunked": (coded(in_chunks(VALID), "chunked, chunked"), BROKEN),
    "14 coding with a parameter": (coded(in_chunks(VALID), "chunked;q=1"), BROKEN),
    "14 chunked twice": (coded(in_chunks(VALID), "chunked\r\nTransfer-Encoding: chunked"), BROKEN),
    "15 CRLF in a quoted chunk extension": (coded(in_chunks(VALID).replace(b"\r\n", b';a="\r\n"\r\n', 1)), BROKEN),
    "17 a broken trailer": (coded(in_chunks(VALID)[:-2] + b"X-Late : x\r\n\r\n"), BROKEN),
    "18 space before the colon": (with_line(b"X-Mark : x\r\n"), BROKEN),
    "18 folded header": (with_line(b"X-Mark: x\r\n y\r\n"), BROKEN),
    "18 bare LF after a header": (with_line(b"X-Mark: x\n"), BROKEN),
    "18 bare LF after every line": (page().replace(b"\r\n", b"\n"), BROKEN),
    "18 bare CR in a header": (with_line(b"X-Mark: x\rX-Next: y\r\n"), BROKEN),
    "18 NUL in a header": (with_line(b"X-Mark: \0\r\n"), BROKEN),
    "18 NUL in a header's name": (with_line(b"X\0Mark: x\r\n"), BROKEN),
    "18 header without a name": (with_line(b": x\r\n"), BROKEN),
    "18 header without a colon": (with_line(b"X-Mark\r\n"), BROKEN),
    "19 header of 9000 bytes": (with_line(b"X-Mark: " + b"x" * 9000 + b"\r\n"), BROKEN),
    "19 header's name of 9000 bytes": (with_line(b"X" * 9000 + b": x\r\n"), BROKEN),
    "20 129 headers": (page(VALID, *[f"X-{n}: x" for n in range(129)]), BROKEN),
    "20 100,000 headers": (page(VALID, *[f"X-{n}: x" for n in range(100_000)]), BROKEN),
    "21 path of 9000 bytes": (asking(b"POST /v1/" + b"x" * 9000 + b" HTTP/1.1"), BROKEN),
    "21 query of a megabyte": (asking(b"POST /v1/events?" + b"x" * MIB + b" HTTP/1.1"), BROKEN),
    "22 no Host": (page().replace(f"Host: {HOST}\r\n".encode(), b""), BROKEN),
    "22 two Hosts": (page(VALID, "Host: evil.example"), BROKEN),
    "22 the same Host twice": (page(VALID, f"Host: {HOST}"), BROKEN),
    "23 control byte in the method": (asking(b"PO\x01ST /v1/events HTTP/1.1"), BROKEN),
    "23 method in lower case": (asking(b"post /v1/events HTTP/1.1"), BROKEN),
    "23 HTTP/9.9": (asking(b"POST /v1/events HTTP/9.9"), BROKEN),
    "23 the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BROKEN),
    "23 a hello of TLS": (bytes.fromhex("1603010200010001fc0303") + bytes(range(256)) * 2, BROKEN),
    "23 nothing but noise": (bytes(range(256)), BROKEN),
    "24 GET": (wire(SAME_ORIGIN, method="GET"), (405, "method")),
    "24 PUT": (wire(SAME_ORIGIN, JSON, method="PUT", body=VALID), (405, "method")),
    "24 DELETE": (wire(SAME_ORIGIN, method="DELETE"), (405, "method")),
    "24 TRACE": (wire(SAME_ORIGIN, method="TRACE"), (405, "method")),
    "24 PATCH": (wire(SAME_ORIGIN, JSON, method="PATCH", body=VALID), (405, "method")),
    "26 Expect: bananas": (page(VALID, "Expect: bananas"), (417, "expect")),
    "26 Expect: 100-continue and bananas": (page(VALID, "Expect: 100-continue, bananas"), (417, "expect")),
    "32 gzip without its trailer": (encoded("gzip", GZIP[:-8]), MALFORMED),
    "33 gzip cut in the middle": (encoded("gzip", GZIP[:20]), MALFORMED),
    "34 gzip with a wrong CRC": (encoded("gzip", GZIP[:-8] + b"\0" * 8), MALFORMED),
    "35 gzip that is plain JSON": (encoded("gzip", VALID), MALFORMED),
    "36 gzip with bytes after it": (encoded("gzip", GZIP + VALID), MALFORMED),
    "36 gzip in 101 members": (encoded("gzip", GZIP + gzip.compress(b"") * 100), MALFORMED),
    "37 gzip bomb": (encoded("gzip", BOMB), TOO_LARGE),
    "37 zstd bomb": (encoded("zstd", zstd(bytes(60 * MIB))), TOO_LARGE),
    "37 gzip bomb in chunks": (
        coded(in_chunks(BOMB)).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1),
        TOO_LARGE,
    ),
    "37 gzip, key, inflates 200 times and more": (keyed(THIN_GZIP, "Content-Encoding: gzip"), TOO_LARGE),
    "37 zstd, key, inflates 200 times and more": (keyed(zstd(THIN), "Content-Encoding: zstd"), TOO_LARGE),
    "38 deflate, raw": (encoded("deflate", zlib.compress(VALID, wbits=-15)), ENCODING),
    "38 deflate, zlib": (encoded("deflate", zlib.compress(VALID)), ENCODING),
    "39 br": (encoded("br", b"\x0b\x02\x80junk"), ENCODING),
    "40 zstd with a window of 128 MiB": (encoded("zstd", zstd_window(VALID, 27)), TOO_LARGE),
    "40 zstd with a window of 128 MiB, key": (keyed(zstd_window(VALID, 27), "Content-Encoding: zstd"), TOO_LARGE),
    "40 zstd cut short": (encoded("zstd", zstd(VALID)[:-3]), MALFORMED),
    "41 an unknown encoding": (encoded("foo", VALID), ENCODING),
    "41 two encodings": (encoded("gzip, gzip", gzip.compress(GZIP)), ENCODING),
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
    "46 an escaped lone surrogate in props": (page(batch(rb'{"name":"x","props":{"a":"\udc00"}}')), MALFORMED),
    "47 NaN": (page(batch(b'{"name":"x","value":NaN}')), MALFORMED),
    "47 Infinity": (page(batch(b'{"name":"x","value":Infinity}')), MALFORMED),
    "47 -Infinity": (page(batch(b'{"name":"x","value":-Infinity}')), MALFORMED),
    "52 depth 1025": (page(batch(b'{"name":"x","props":{"a":' + nested(1021, "arrays") + b"}}")), MALFORMED),
    "52 depth 1025 of objects": (page(batch(b'{"name":"x","props":' + nested(1022, "objects") + b"}")), MALFORMED),
    "52 depth 1025 of events": (page(batch(nested(1023, "arrays"))), MALFORMED),
    "52 depth 100000": (keyed(b"[" * 100_000), MALFORMED),
    "54 a bare array": (page(b"[" + event() + b"]"), MALFORMED),
    "54 a text": (page(b'"x"'), INVALID),
    "54 null": (page(b"null"), INVALID),
    "54 a number": (page(b"5"), INVALID),
    "54 true": (page(b"true"), INVALID),
    "54 an empty object": (page(b"{}"), INVALID),
    "a key twice beside the events": (page(b'{"events":[],"events":[' + event() + b"]}"), MALFORMED),
    "a key twice, once escaped": (page(rb'{"events":[],"\u0065vents":[' + event() + b"]}"), MALFORMED),
    "consent twice": (page(b'{"consent":"denied","events":[' + event() + b'],"consent":"granted"}'), MALFORMED),
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
    "68 the path percent-encoded": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/%65vents"), NOT_FOUND),
    "68 a point in the path": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/./events"), NOT_FOUND),
    "71 wrong key": (wire("Authorization: Bearer wrong", CONSENT, JSON, body=VALID), (401, "key")),
    "71 wrong key, though of the same origin": (page(VALID, "Authorization: Bearer wrong"), (401, "key")),
    "71 the beginning of a key": (page(VALID, f"Authorization: Bearer {INGEST_KEY[:-1]}"), (401, "key")),
    "71 a key without a scheme": (page(VALID, f"Authorization: {INGEST_KEY}"), (401, "key")),
    "71 a key that is not ASCII": (page(VALID, "Authorization: Bearer \xff\xfe"), (401, "key")),
    "71 a key of a megabyte": (page(VALID, f"Authorization: Bearer {'x' * MIB}"), BROKEN),
    "71 two keys": (keyed(VALID, KEY), (401, "key")),
    "71 two keys, one wrong": (keyed(VALID, "Authorization: Bearer wrong"), (401, "key")),
    "72 key in the query string": (wire(CONSENT, JSON, body=VALID, path=f"/v1/events?key={INGEST_KEY}"), ORIGIN),
    "75 nothing to go by": (wire(CONSENT, JSON, body=VALID), ORIGIN),
    "75 Origin null": (wire("Origin: null", CONSENT, JSON, body=VALID), ORIGIN),
    "75 Origin null, cross-site": (
        wire("Origin: null", "Sec-Fetch-Site: cross-site", CONSENT, JSON, body=VALID),
        ORIGIN,
    ),
    "75 Origin of another site": (wire("Origin: https://evil.example", CONSENT, JSON, body=VALID), ORIGIN),
    "76 Referer of another site": (
        wire("Referer: https://evil.example/example.com", CONSENT, JSON, body=VALID),
        ORIGIN,
    ),
    "79 consent in a cookie of another case": (cookie("Analytics_Consent=granted"), NO_CONSENT),
    "79 consent in the value of another cookie": (cookie("x=analytics_consent=granted"), NO_CONSENT),
    "79 consent in a cookie whose name ends so": (cookie("no_analytics_consent=granted"), NO_CONSENT),
    "79 consent in a cookie whose value begins so": (cookie("analytics_consent=grantedly"), NO_CONSENT),
    "79 consent in a cookie after a comma": (cookie("x=1, analytics_consent=granted"), NO_CONSENT),
    "79 consent in a cookie percent-encoded": (cookie("analytics_consent=%67ranted"), NO_CONSENT),
    "79 cookie of 8 kB": (cookie("x=" + "y" * 8200), BROKEN),
    "79 1000 cookies": (cookie("; ".join(f"c{n}=x" for n in range(1000))), NO_CONSENT),
    "80 DNT": (page(VALID, "DNT: 1"), NO_CONSENT),
    "80 GPC": (page(VALID, "Sec-GPC: 1"), NO_CONSENT),
    "80 no consent": (wire(SAME_ORIGIN, JSON, body=VALID), NO_CONSENT),
    "80 consent denied in the header": (wire(SAME_ORIGIN, JSON, "Foldlog-Consent: denied", body=VALID), NO_CONSENT),
    "80 consent denied in the batch": (page(b'{"events":[{"name":"x"}],"consent":"denied"}'), NO_CONSENT),
    "80 consent forged in another cookie": (wire(SAME_ORIGIN, JSON, "Cookie: x=granted", body=VALID), NO_CONSENT),
    "too many events": (page(batch(*[event()] * 501)), (413, "too_many_events")),
    "no events": (page(b'{"events":[]}'), (422, "batch_empty")),
    "a field beside the events": (page(b'{"events":[{"name":"x"}],"site":"x"}'), INVALID),
    "80 DNT, with a key": (keyed(VALID, "DNT: 1"), NO_CONSENT),
    "80 DNT said and unsaid": (page(VALID, "DNT: 0", "DNT: 1"), NO_CONSENT),
    "80 GPC said and unsaid": (page(VALID, "Sec-GPC: 0", "Sec-GPC: 1"), NO_CONSENT),
    "80 consent given and denied": (page(VALID, "Foldlog-Consent: denied"), NO_CONSENT),
    "broken NDJSON line": (page(FEED[:-1], media_type=NDJSON), MALFORMED),
}


@pytest.mark.parametrize(("sent", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused_request_says_why_at_once_and_stores_nothing(
    server: Server, sent: bytes, expected: tuple[int, str]
) -> None:
    before = server.lines()
    started = time.monotonic()
    answer = server.exchange(sent)
    assert time.monotonic() - started < AT_ONCE_S
    assert (answer.status, answer.code) == expected, answer
    assert appended(server, before) == []
    assert set(answer.json()) == {"type", "title", "status", "code", "detail"}
    assert answer.json()["status"] == answer.status
    assert not any(name.startswith("Access-Control-") for name in answer.headers)
    if answer.status == 405:
        assert answer.headers["Allow"] == "OPTIONS, POST"
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"]


# One bad event between two good ones: its code and field, while the others are stored.
REJECTED: dict[str, tuple[bytes, str, str | None]] = {
    "48 1e400": (b'{"name":"x","value":1e400}', "value_out_of_range", "value"),
    "49 an integer of 5000 digits": (b'{"name":"x","value":' + b"9" * 5000 + b"}", "value_out_of_range", "value"),
    "49 the same in props": (b'{"name":"x","props":{"a":' + b"9" * 5000 + b"}}", "props_out_of_range", "props"),
    "50 2^53+1 as value": (event(value=2**53 + 1), "value_out_of_range", "value"),
    "50 -2^53 as value": (event(value=-(2**53)), "value_out_of_range", "value"),
    "50 2^53+1 in props": (event(props={"a": 2**53 + 1}), "props_out_of_range", "props"),
    "50 2^64 in props": (event(props={"a": 2**64}), "props_out_of_range", "props"),
    "53 an array of 10,000 in props": (event(props={"a": [1] * 10_000}), "props_type", "props"),
    "53 10,000 events in an event": (b"[" + b",".join([b"{}"] * 10_000) + b"]", "event_type", None),
    "53 2000 keys in props": (event(props={f"k{n}": 1 for n in range(2000)}), "props_too_long", "props"),
    "53 2000 keys beside the name": (event(**{f"k{n}": 1 for n in range(2000)}), "unknown_field", "k0"),
    "53 a key of 30 KB": (event(props={"k" * 30_000: 1}), "props_too_long", "props"),
    "57 a newline in the name": (event(name="a\nb"), "name_invalid", "name"),
    "57 a carriage return in the name": (event(name="a\rb"), "name_invalid", "name"),
    "57 a newline in the visitor": (event(visitor="a\nb"), "visitor_invalid", "visitor"),
    "57 a newline in the url": (event(url="https://example.com/\n"), "url_invalid", "url"),
    "58 ESC in the name": (event(name="\x1b[2J"), "name_invalid", "name"),
    "58 C1 in the name": (event(name="\x9b2J"), "name_invalid", "name"),
    "58 DEL in the name": (event(name="\x7f"), "name_invalid", "name"),
    "58 bidi in the name": (event(name="\u202e"), "name_invalid", "name"),
    "58 U+2028 in the name": (event(name="\u2028"), "name_invalid", "name"),
    "59 id in NFC": (event(id=unicodedata.normalize("NFC", "identité-1")), "id_invalid", "id"),
    "59 id in NFD": (event(id=unicodedata.normalize("NFD", "identité-1")), "id_invalid", "id"),
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
    "a key twice": (b'{"name":"x","name":"y"}', "key_repeated", "name"),
    "a key twice with the same value": (b'{"name":"x","value":1,"value":1}', "key_repeated", "value"),
    "a key twice, once null": (b'{"name":"x","url":null,"url":"https://example.com/"}', "key_repeated", "url"),
    "a key twice, once escaped": (rb'{"name":"x","n\u0061me":"y"}', "key_repeated", "name"),
    "a key twice, with blanks before the colon": (b'{"name" : "x","name" : "y"}', "key_repeated", "name"),
    "a key twice in props": (b'{"name":"x","props":{"a":1,"a":2}}', "key_repeated", "a"),
    "a key twice in props, beside a text that holds a colon": (
        rb'{"name":"x","props":{"a":"\":","a":2}}',
        "key_repeated",
        "a",
    ),
    "an event that is a text": (b'"x"', "event_type", None),
    "an event of 33 KiB": (event(props={"a": "x" * (33 << 10)}), "event_too_large", None),
}


@pytest.mark.parametrize(("bad", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_bad_event_is_rejected_and_its_neighbours_are_stored(
    server: Server, bad: bytes, code: str, field: str | None
) -> None:
    before = server.lines()
    answer = server.exchange(page(batch(event(name="left"), bad, event(name="right"))))
    assert answer.status == 200
    (rejected,) = answer.json()["rejected"]
    assert (answer.json()["accepted"], rejected["index"], rejected["code"], rejected.get("field")) == (
        2,
        1,
        code,
        field,
    )
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


PLACES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    # where the nesting is: how deep that is already, and the batch around it
    "a property": (4, lambda inside: batch(b'{"name":"x","props":{"a":' + inside + b"}}")),
    "props": (3, lambda inside: batch(b'{"name":"x","props":' + inside + b"}")),
    "an unknown field": (3, lambda inside: batch(b'{"name":"x","y":' + inside + b"}")),
    "an event": (2, batch),
    "the batch": (1, lambda inside: b'{"events":[{"name":"x"}],"y":' + inside + b"}"),
}
DEPTHS = {
    f"51 depth {depth} of {brackets} in {place}": around(nested(depth - above, brackets))
    for depth in (17, 100, 1000, 1024)
    for brackets in ("arrays", "objects")
    for place, (above, around) in PLACES.items()
}


@pytest.mark.parametrize("body", DEPTHS.values(), ids=DEPTHS)
def test_nesting_up_to_1024_levels_is_422(server: Server, body: bytes) -> None:
    """Row 51. Which code it is depends on the place: the event's own, or that of the
    batch.
    """
    before = server.lines()
    answer = server.exchange(page(body))
    assert answer.status == 422, answer
    assert appended(server, before) == []


# Events that only a key can send: their bodies are larger than a page's may be.
ENORMOUS = {
    "53 10,000 keys in props": event(props={f"k{n}": 1 for n in range(10_000)}),
    "53 a text of a megabyte": event(props={"a": "x" * 1_000_000}),
    "53 a name of a megabyte": event(name="x" * 1_000_000),
    "60 an id of a megabyte": event(id="x" * 1_000_000),
}


@pytest.mark.parametrize("bad", ENORMOUS.values(), ids=ENORMOUS)
def test_enormous_event_is_rejected_and_its_neighbours_are_stored(server: Server, bad: bytes) -> None:
    before = server.lines()
    answer = server.exchange(keyed(batch(event(name="left"), bad, event(name="right"))))
    assert answer.status == 200
    assert [(found["index"], found["code"]) for found in answer.json()["rejected"]] == [(1, "event_too_large")]
    assert [line["name"] for line in appended(server, before)] == ["left", "right"]


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
    "16 60,000 chunks of a byte": (coded(in_chunks(*[b"%c" % byte for byte in padded(60_000)]), who=KEY), ONE),
    "17 trailers are not headers": (coded(in_chunks(VALID)[:-2] + b"Foldlog-Consent: denied\r\nDNT: 1\r\n\r\n"), ONE),
    "15 a chunk extension": (coded(in_chunks(VALID).replace(b"\r\n", b";a=b\r\n", 1)), ONE),
    "19 header of 8000 bytes": (page(VALID, "X-Mark: " + "x" * 8000), ONE),
    "20 100 headers": (page(VALID, *[f"X-{n}: x" for n in range(100)]), ONE),
    "21 query of 8000 bytes": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/events?" + "x" * 8000), ONE),
    "22 Host in upper case, with a port": (page().replace(HOST.encode(), b"EXAMPLE.com:8080"), ONE),
    "31 gzip": (encoded("gzip", GZIP), ONE),
    "31 gzip in chunks of a byte": (
        coded(in_chunks(*[b"%c" % byte for byte in GZIP])).replace(b"\r\n", b"\r\nContent-Encoding: GZIP\r\n", 1),
        ONE,
    ),
    "37 gzip of a page, however thin": (encoded("gzip", gzip.compress(padded(PAGE_LIMIT))), ONE),
    "31 zstd": (encoded("zstd", zstd(VALID)), ONE),
    "36 gzip in two members": (encoded("gzip", gzip.compress(VALID[:9]) + gzip.compress(VALID[9:])), ONE),
    "36 gzip in 100 members": (encoded("gzip", GZIP + gzip.compress(b"") * 99), ONE),
    "50 2^53-1 and less": (page(batch(event(value=2**53 - 1, props={"a": -(2**53) + 1, "b": 1e300}))), ONE),
    "58 hazards outside of names": (page(batch(event(props={"a": "\x1b\x9b\x7f\u202e"}))), ONE),
    "63 names from JavaScript": (page(batch(event(props={"crc": "x", "__proto__": "y", "constructor": 1}))), ONE),
    "65 year 9999 is clamped": (page(batch(event(time="9999-12-31T23:59:59Z"))), ONE),
    "66 name that is a path": (page(batch(event(name="../../etc/passwd"))), ["../../etc/passwd"]),
    "66 name that is a device": (page(batch(event(name="CON"))), ["CON"]),
    "66 name with a leading point": (page(batch(event(name=".x"))), [".x"]),
    "69 name that is a script": (page(batch(event(name="<script>alert(1)</script>"))), ["<script>alert(1)</script>"]),
    "70 name that is a formula": (page(batch(event(name="=cmd|'/c calc'!A1"))), ["=cmd|'/c calc'!A1"]),
    "75 key, though Origin null": (wire(KEY, "Origin: null", CONSENT, JSON, body=VALID), ONE),
    "75 Origin is our host": (wire(f"Origin: https://{HOST}", CONSENT, JSON, body=VALID), ONE),
    "76 Referer is our host": (wire(f"Referer: https://{HOST}/a", CONSENT, JSON, body=VALID), ONE),
    "79 consent among 500 other cookies": (cookie("x=1; " * 500 + "analytics_consent=granted"), ONE),
    "80 consent in the cookie": (cookie("analytics_consent=granted"), ONE),
    "80 consent in the batch": (wire(SAME_ORIGIN, JSON, body=VALID[:-1] + b',"consent":"granted"}'), ONE),
    "500 events": (page(batch(*[event(name=f"n{n}") for n in range(500)])), [f"n{n}" for n in range(500)]),
    "Expect: 100-continue": (page(VALID, "Expect: 100-continue"), ONE),
    "HTTP/1.0": (asking(b"POST /v1/events HTTP/1.0"), ONE),
    "a request to upgrade": (page(VALID, "Connection: Upgrade", "Upgrade: websocket"), ONE),
    "texts that look like keys": (
        page(batch(event(props={'"a":': '"a":1,"a":', "b": '{"name":"x","name":"y"}'}))),
        ONE,
    ),
    "the same key in two objects": (page(batch(event(props={"name": "x", "props": "y"}))), ONE),
    "explicit nulls": (page(b'{"events":[' + NULLS + b'],"sent_at":null,"consent":null}'), ONE),
    "blanks before colons": (page(b'{"events" : [{"name" :"pageview" , "value" :1}]}'), ONE),
}


@pytest.mark.parametrize(("sent", "names"), STORED.values(), ids=STORED)
def test_accepted_events_are_in_the_log_when_the_answer_comes(server: Server, sent: bytes, names: list[str]) -> None:
    before = server.lines()
    answer = server.exchange(sent)
    assert (answer.status, answer.json()) == (200, {"accepted": len(names), "rejected": []})
    assert [line["name"] for line in appended(server, before)] == names


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


SURVIVED = [name for name in REFUSED if REFUSED[name][1][1] not in {"http", "too_large"}]


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


def test_id_counts_anew_once_it_is_older_than_an_event_may_be(tmp_path: Path) -> None:
    """Row 84, from the log on: over HTTP a time so far apart would be too old."""
    data = data_directory(tmp_path)
    day_ms = LATENESS_MAX_MS // 3
    for days_later, counted in ((0, 1), (3, 1), (8, 2)):
        at_ms = NOON + days_later * day_ms
        sealed(data, [line("sent-again-1", at_ms)])
        fold(data, at_ms)
        assert load_snapshot(data).totals.counted == counted


def test_ids_that_differ_in_case_are_two_events(server: Server) -> None:
    """Row 59."""
    assert (
        server.post([{"name": "case", "id": "Case-0001"}, {"name": "case", "id": "case-0001"}]).json()["accepted"] == 2
    )
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
                assert server.exchange(sent).status in {200, 400, 403}, header
                assert server.exchange(page()).status == 200
        finally:
            server.kill()
