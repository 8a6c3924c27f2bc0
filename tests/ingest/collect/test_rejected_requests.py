"""Requests that are rejected as a whole: the problem, nothing stored, the connection
kept.

Rows are named by their rule in docs/bad-input.md.
"""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.builders.server import INGEST_KEY
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
from tests.builders.worker import Worker

PAGE_LIMIT = 64 << 10
KEY_LIMIT = 1 << 20
MIB = 1 << 20
THIN = 900_000  # within the limit of a key; compresses to 1 KB
GZIP = gzip.compress(VALID)
FEED = b'{"name":"one"}\n{"name":"two"}'
MALFORMED_HTTP = (400, "http")
MALFORMED = (400, "malformed")
TOO_LARGE = (413, "too_large")
MEDIA_TYPE = (415, "media_type")
ENCODING = (415, "content_encoding")
ORIGIN = (403, "origin")
NO_CONSENT = (403, "consent")
INVALID = (422, "batch_invalid")
NOT_FOUND = (404, "not_found")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for all rows: after thousands of bad requests it still works, and its
    data directory verifies.
    """
    with Worker(tmp_path_factory.mktemp("rejected")) as running:
        yield running


# What is sent, made when it is needed if it is large; the status and code of the
# problem.
Sent = bytes | Callable[[], bytes]
REJECTED: dict[str, tuple[Sent, tuple[int, str]]] = {
    "empty-body: no bytes": (page(b""), MALFORMED),
    "empty-body: white space": (page(b" \r\n"), MALFORMED),
    "no-length: neither length nor chunks": (wire(SAME_ORIGIN, CONSENT, JSON, length=""), MALFORMED),
    "over-the-limit: page, 1 byte more than the limit": (page(padded(PAGE_LIMIT + 1)), TOO_LARGE),
    "over-the-limit: key, 1 byte more than the limit": (lambda: keyed(padded(KEY_LIMIT + 1)), TOO_LARGE),
    "huge-length: and no body": (wire(SAME_ORIGIN, CONSENT, JSON, length="99999999999"), TOO_LARGE),
    "huge-length: and no body, with a key": (wire(KEY, CONSENT, JSON, length="99999999999"), TOO_LARGE),
    "bad-length: length -5": (wire(SAME_ORIGIN, CONSENT, JSON, length="-5"), MALFORMED_HTTP),
    "bad-length: length +7": (wire(SAME_ORIGIN, CONSENT, JSON, length="+7"), MALFORMED_HTTP),
    "bad-length: 0x7": (wire(SAME_ORIGIN, CONSENT, JSON, length="0x7"), MALFORMED_HTTP),
    "bad-length: 7_0": (wire(SAME_ORIGIN, CONSENT, JSON, length="7_0"), MALFORMED_HTTP),
    "bad-length: of 5000 digits": (wire(SAME_ORIGIN, CONSENT, JSON, length="9" * 5000), MALFORMED_HTTP),
    "bad-length: empty": (wire(SAME_ORIGIN, CONSENT, JSON, length=" "), MALFORMED_HTTP),
    "bad-length: a list": (
        wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, length=f"{len(VALID)}, {len(VALID)}"),
        MALFORMED_HTTP,
    ),
    "repeated-length: the same length twice": (page(VALID, f"Content-Length: {len(VALID)}"), MALFORMED_HTTP),
    "repeated-length: two lengths": (page(VALID, "Content-Length: 1"), MALFORMED_HTTP),
    "length-and-chunks: length and chunks": (
        wire(SAME_ORIGIN, CONSENT, JSON, "Transfer-Encoding: chunked", body=in_chunks(VALID)),
        MALFORMED_HTTP,
    ),
    "length-and-chunks: chunks and length": (
        coded(in_chunks(VALID)).replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1),
        MALFORMED_HTTP,
    ),
    "chunks-over-the-limit: chunks beyond the limit": (chunked(*[b" " * 16384] * 5), TOO_LARGE),
    "chunks-over-the-limit: one chunk beyond the limit": (chunked(b" " * 200_000), TOO_LARGE),
    "chunks: no chunks": (chunked(), MALFORMED),
    "bad-chunk: chunk size zz": (coded(b"zz\r\n{}\r\n0\r\n\r\n"), MALFORMED_HTTP),
    "bad-chunk: 0x7": (coded(b"0x7\r\n1234567\r\n0\r\n\r\n"), MALFORMED_HTTP),
    "bad-chunk: chunk size -5": (coded(b"-5\r\n12345\r\n0\r\n\r\n"), MALFORMED_HTTP),
    "bad-chunk: chunk size +5": (coded(b"+5\r\n12345\r\n0\r\n\r\n"), MALFORMED_HTTP),
    "bad-chunk: empty": (coded(b"\r\n{}\r\n0\r\n\r\n"), MALFORMED_HTTP),
    "bad-chunk: beyond 64 bits": (coded(b"1" + b"0" * 16 + b"\r\n"), MALFORMED_HTTP),
    "bad-chunk: bare LF between chunks": (coded(in_chunks(VALID).replace(b"\r\n", b"\n")), MALFORMED_HTTP),
    "bad-chunk: chunk longer than its size": (coded(in_chunks(VALID).replace(b"\r\n0", b"xx\r\n0")), MALFORMED_HTTP),
    "bad-transfer-coding: coding xchunked": (coded(in_chunks(VALID), "xchunked"), MALFORMED_HTTP),
    "bad-transfer-coding: coding identity": (coded(in_chunks(VALID), "identity"), MALFORMED_HTTP),
    "bad-transfer-coding: chunked, identity": (coded(in_chunks(VALID), "chunked, identity"), MALFORMED_HTTP),
    "bad-transfer-coding: chunked, chunked": (coded(in_chunks(VALID), "chunked, chunked"), MALFORMED_HTTP),
    "bad-transfer-coding: coding with a parameter": (coded(in_chunks(VALID), "chunked;q=1"), MALFORMED_HTTP),
    "bad-transfer-coding: chunked twice": (
        coded(in_chunks(VALID), "chunked\r\nTransfer-Encoding: chunked"),
        MALFORMED_HTTP,
    ),
    "chunk-extension: CRLF in a quoted chunk extension": (
        coded(in_chunks(VALID).replace(b"\r\n", b';a="\r\n"\r\n', 1)),
        MALFORMED_HTTP,
    ),
    "trailers: a broken trailer": (coded(in_chunks(VALID)[:-2] + b"X-Late : x\r\n\r\n"), MALFORMED_HTTP),
    "bad-header: space before the colon": (with_line(b"X-Mark : x\r\n"), MALFORMED_HTTP),
    "bad-header: folded header": (with_line(b"X-Mark: x\r\n y\r\n"), MALFORMED_HTTP),
    "bad-header: bare LF after a header": (with_line(b"X-Mark: x\n"), MALFORMED_HTTP),
    "bad-header: bare LF after every line": (page().replace(b"\r\n", b"\n"), MALFORMED_HTTP),
    "bad-header: bare CR in a header": (with_line(b"X-Mark: x\rX-Next: y\r\n"), MALFORMED_HTTP),
    "bad-header: NUL in a header": (with_line(b"X-Mark: \0\r\n"), MALFORMED_HTTP),
    "bad-header: NUL in a header's name": (with_line(b"X\0Mark: x\r\n"), MALFORMED_HTTP),
    "bad-header: header without a name": (with_line(b": x\r\n"), MALFORMED_HTTP),
    "bad-header: header without a colon": (with_line(b"X-Mark\r\n"), MALFORMED_HTTP),
    "long-header: header of 9000 bytes": (with_line(b"X-Mark: " + b"x" * 9000 + b"\r\n"), MALFORMED_HTTP),
    "long-header: header's name of 9000 bytes": (with_line(b"X" * 9000 + b": x\r\n"), MALFORMED_HTTP),
    "many-headers: 129 headers": (page(VALID, *[f"X-{n}: x" for n in range(129)]), MALFORMED_HTTP),
    "many-headers: 100,000 headers": (lambda: page(VALID, *[f"X-{n}: x" for n in range(100_000)]), MALFORMED_HTTP),
    "long-url: path of 9000 bytes": (asking(b"POST /v1/" + b"x" * 9000 + b" HTTP/1.1"), MALFORMED_HTTP),
    "long-url: query of a megabyte": (lambda: asking(b"POST /v1/events?" + b"x" * MIB + b" HTTP/1.1"), MALFORMED_HTTP),
    "host: no Host": (page().replace(f"Host: {HOST}\r\n".encode(), b""), MALFORMED_HTTP),
    "host: two Hosts": (page(VALID, "Host: evil.example"), MALFORMED_HTTP),
    "host: the same Host twice": (page(VALID, f"Host: {HOST}"), MALFORMED_HTTP),
    "not-http: control byte in the method": (asking(b"PO\x01ST /v1/events HTTP/1.1"), MALFORMED_HTTP),
    "not-http: method in lower case": (asking(b"post /v1/events HTTP/1.1"), MALFORMED_HTTP),
    "not-http: HTTP/9.9": (asking(b"POST /v1/events HTTP/9.9"), MALFORMED_HTTP),
    "not-http: the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MALFORMED_HTTP),
    "not-http: a hello of TLS": (bytes.fromhex("1603010200010001fc0303") + bytes(range(256)) * 2, MALFORMED_HTTP),
    "not-http: nothing but noise": (bytes(range(256)), MALFORMED_HTTP),
    "method: GET": (wire(SAME_ORIGIN, method="GET"), (405, "method")),
    "method: PUT": (wire(SAME_ORIGIN, JSON, method="PUT", body=VALID), (405, "method")),
    "method: DELETE": (wire(SAME_ORIGIN, method="DELETE"), (405, "method")),
    "method: TRACE": (wire(SAME_ORIGIN, method="TRACE"), (405, "method")),
    "method: PATCH": (wire(SAME_ORIGIN, JSON, method="PATCH", body=VALID), (405, "method")),
    "expect: Expect: bananas": (page(VALID, "Expect: bananas"), (417, "expect")),
    "expect: Expect: 100-continue and bananas": (page(VALID, "Expect: 100-continue, bananas"), (417, "expect")),
    "gzip-without-trailer: gzip without its trailer": (encoded("gzip", GZIP[:-8]), MALFORMED),
    "gzip-truncated: gzip cut in the middle": (encoded("gzip", GZIP[:20]), MALFORMED),
    "gzip-bad-crc: gzip with a wrong CRC": (encoded("gzip", GZIP[:-8] + b"\0" * 8), MALFORMED),
    "gzip-not-gzip: gzip that is plain JSON": (encoded("gzip", VALID), MALFORMED),
    "gzip-members: gzip with bytes after it": (encoded("gzip", GZIP + VALID), MALFORMED),
    "gzip-members: gzip in 101 members": (encoded("gzip", GZIP + gzip.compress(b"") * 100), MALFORMED),
    "bomb: gzip bomb": (lambda: encoded("gzip", bomb()), TOO_LARGE),
    "bomb: zstd bomb": (lambda: encoded("zstd", zstd(bytes(60 * MIB))), TOO_LARGE),
    "bomb: gzip bomb in chunks": (
        lambda: coded(in_chunks(bomb())).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1),
        TOO_LARGE,
    ),
    "bomb: gzip, key, inflates 200 times and more": (
        lambda: keyed(gzip.compress(padded(THIN)), "Content-Encoding: gzip"),
        TOO_LARGE,
    ),
    "bomb: zstd, key, inflates 200 times and more": (
        lambda: keyed(zstd(padded(THIN)), "Content-Encoding: zstd"),
        TOO_LARGE,
    ),
    "deflate: deflate, raw": (encoded("deflate", zlib.compress(VALID, wbits=-15)), ENCODING),
    "deflate: deflate, zlib": (encoded("deflate", zlib.compress(VALID)), ENCODING),
    "brotli: br": (encoded("br", b"\x0b\x02\x80junk"), ENCODING),
    "zstd: with a window of 128 MiB": (encoded("zstd", zstd_window(VALID, 27)), TOO_LARGE),
    "zstd: with a window of 128 MiB, key": (keyed(zstd_window(VALID, 27), "Content-Encoding: zstd"), TOO_LARGE),
    "zstd: cut short": (encoded("zstd", zstd(VALID)[:-3]), MALFORMED),
    "unknown-encoding: an unknown encoding": (encoded("foo", VALID), ENCODING),
    "unknown-encoding: two encodings": (encoded("gzip, gzip", gzip.compress(GZIP)), ENCODING),
    "media-type: missing": (wire(SAME_ORIGIN, CONSENT, body=VALID), MEDIA_TYPE),
    "media-type: HTML": (page(media_type="Content-Type: text/html"), MEDIA_TYPE),
    "media-type: a form": (page(media_type="Content-Type: application/x-www-form-urlencoded"), MEDIA_TYPE),
    "media-type: multipart": (page(media_type="Content-Type: multipart/form-data; boundary=x"), MEDIA_TYPE),
    "charset: UTF-16": (
        page(VALID.decode().encode("utf-16"), media_type=f"{JSON}; charset=utf-16"),
        MEDIA_TYPE,
    ),
    "charset: UTF-16 bytes": (page(VALID.decode().encode("utf-16")), MALFORMED),
    "bom: BOM": (page(b"\xef\xbb\xbf" + VALID), MALFORMED),
    "bad-utf8: invalid UTF-8": (page(batch(b'{"name":"\xff"}')), MALFORMED),
    "bad-utf8: overlong UTF-8": (page(batch(b'{"name":"\xc0\xaf"}')), MALFORMED),
    "bad-utf8: a surrogate in UTF-8": (page(batch(b'{"name":"\xed\xa0\x80"}')), MALFORMED),
    "not-a-number: NaN": (page(batch(b'{"name":"x","value":NaN}')), MALFORMED),
    "not-a-number: Infinity": (page(batch(b'{"name":"x","value":Infinity}')), MALFORMED),
    "not-a-number: -Infinity": (page(batch(b'{"name":"x","value":-Infinity}')), MALFORMED),
    "deep-nesting: depth 1025": (page(batch(b'{"name":"x","props":{"a":' + nested(1021, "arrays") + b"}}")), MALFORMED),
    "deep-nesting: depth 1025 of objects": (
        page(batch(b'{"name":"x","props":' + nested(1022, "objects") + b"}")),
        MALFORMED,
    ),
    "deep-nesting: depth 1025 of events": (page(batch(nested(1023, "arrays"))), MALFORMED),
    "deep-nesting: depth 100000": (keyed(b"[" * 100_000), MALFORMED),
    "not-a-batch: a bare array": (page(b"[" + event() + b"]"), MALFORMED),
    "not-a-batch: a text": (page(b'"x"'), INVALID),
    "not-a-batch: null": (page(b"null"), INVALID),
    "not-a-batch: a number": (page(b"5"), INVALID),
    "not-a-batch: true": (page(b"true"), INVALID),
    "not-a-batch: an empty object": (page(b"{}"), INVALID),
    "repeated-key: a key twice beside the events": (page(b'{"events":[],"events":[' + event() + b"]}"), MALFORMED),
    "repeated-key: once escaped": (page(rb'{"events":[],"\u0065vents":[' + event() + b"]}"), MALFORMED),
    "repeated-key: consent twice": (
        page(b'{"consent":"denied","events":[' + event() + b'],"consent":"granted"}'),
        MALFORMED,
    ),
    "bad-json: two values": (page(VALID + b" " + VALID), MALFORMED),
    "bad-json: a trailing comma": (page(b'{"events":[' + event() + b",]}"), MALFORMED),
    "bad-json: a comment": (page(VALID + b"/* x */"), MALFORMED),
    "bad-json: single quotes": (page(VALID.replace(b'"', b"'")), MALFORMED),
    "bad-json: 01": (page(batch(b'{"name":"x","value":01}')), MALFORMED),
    "bad-json: .5": (page(batch(b'{"name":"x","value":.5}')), MALFORMED),
    "bad-json: +1": (page(batch(b'{"name":"x","value":+1}')), MALFORMED),
    "bad-json: hexadecimal": (page(batch(b'{"name":"x","value":0x1f}')), MALFORMED),
    "raw-control: a raw newline": (page(batch(b'{"name":"a\nb"}')), MALFORMED),
    "raw-control: a raw tab": (page(batch(b'{"name":"a\tb"}')), MALFORMED),
    "raw-control: a raw NUL": (page(batch(b'{"name":"a\0b"}')), MALFORMED),
    "wrong-path: a slash after the path": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/events/"), NOT_FOUND),
    "wrong-path: two slashes before the path": (
        wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="//v1/events"),
        NOT_FOUND,
    ),
    "wrong-path: the path in upper case": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/V1/events"), NOT_FOUND),
    "wrong-path: the path percent-encoded": (
        wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/%65vents"),
        NOT_FOUND,
    ),
    "wrong-path: a point in the path": (wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, path="/v1/./events"), NOT_FOUND),
    "credentials: wrong key": (wire("Authorization: Bearer wrong", CONSENT, JSON, body=VALID), (401, "key")),
    "credentials: wrong key, though of the same origin": (page(VALID, "Authorization: Bearer wrong"), (401, "key")),
    "credentials: the beginning of a key": (page(VALID, f"Authorization: Bearer {INGEST_KEY[:-1]}"), (401, "key")),
    "credentials: a key without a scheme": (page(VALID, f"Authorization: {INGEST_KEY}"), (401, "key")),
    "credentials: a key that is not ASCII": (page(VALID, "Authorization: Bearer \xff\xfe"), (401, "key")),
    "credentials: a key of a megabyte": (lambda: page(VALID, f"Authorization: Bearer {'x' * MIB}"), MALFORMED_HTTP),
    "credentials: two keys": (keyed(VALID, KEY), (401, "key")),
    "credentials: two keys, one wrong": (keyed(VALID, "Authorization: Bearer wrong"), (401, "key")),
    "key-in-url: key in the query string": (
        wire(CONSENT, JSON, body=VALID, path=f"/v1/events?key={INGEST_KEY}"),
        ORIGIN,
    ),
    "no-origin: nothing to go by": (wire(CONSENT, JSON, body=VALID), ORIGIN),
    "no-origin: Origin null": (wire("Origin: null", CONSENT, JSON, body=VALID), ORIGIN),
    "no-origin: Origin null, cross-site": (
        wire("Origin: null", "Sec-Fetch-Site: cross-site", CONSENT, JSON, body=VALID),
        ORIGIN,
    ),
    "no-origin: Origin of another site": (wire("Origin: https://evil.example", CONSENT, JSON, body=VALID), ORIGIN),
    "referer: Referer of another site": (
        wire("Referer: https://evil.example/example.com", CONSENT, JSON, body=VALID),
        ORIGIN,
    ),
    "cookies: of another case": (cookie("Analytics_Consent=granted"), NO_CONSENT),
    "cookies: consent in the value of another cookie": (cookie("x=analytics_consent=granted"), NO_CONSENT),
    "cookies: whose name ends so": (cookie("no_analytics_consent=granted"), NO_CONSENT),
    "cookies: whose value begins so": (cookie("analytics_consent=grantedly"), NO_CONSENT),
    "cookies: after a comma": (cookie("x=1, analytics_consent=granted"), NO_CONSENT),
    "cookies: percent-encoded": (cookie("analytics_consent=%67ranted"), NO_CONSENT),
    "cookies: cookie of 8 kB": (cookie("x=" + "y" * 8200), MALFORMED_HTTP),
    "cookies: 1000 cookies": (cookie("; ".join(f"c{n}=x" for n in range(1000))), NO_CONSENT),
    "consent: DNT": (page(VALID, "DNT: 1"), NO_CONSENT),
    "consent: GPC": (page(VALID, "Sec-GPC: 1"), NO_CONSENT),
    "consent: no consent": (wire(SAME_ORIGIN, JSON, body=VALID), NO_CONSENT),
    "consent: denied in the header": (
        wire(SAME_ORIGIN, JSON, "Foldlog-Consent: denied", body=VALID),
        NO_CONSENT,
    ),
    "consent: denied in the batch": (page(b'{"events":[{"name":"x"}],"consent":"denied"}'), NO_CONSENT),
    "consent: forged in another cookie": (wire(SAME_ORIGIN, JSON, "Cookie: x=granted", body=VALID), NO_CONSENT),
    "too-many-events: 501": (page(batch(*[event()] * 501)), (413, "too_many_events")),
    "no-events: an empty list": (page(b'{"events":[]}'), (422, "batch_empty")),
    "unknown-batch-field: sites": (page(b'{"events":[{"name":"x"}],"sites":"x"}'), INVALID),
    "consent: DNT, with a key": (keyed(VALID, "DNT: 1"), NO_CONSENT),
    "consent: DNT said and unsaid": (page(VALID, "DNT: 0", "DNT: 1"), NO_CONSENT),
    "consent: GPC said and unsaid": (page(VALID, "Sec-GPC: 0", "Sec-GPC: 1"), NO_CONSENT),
    "consent: given and denied": (page(VALID, "Foldlog-Consent: denied"), NO_CONSENT),
    "ndjson: no line is JSON": (page(b"hello\n", media_type=NDJSON), MALFORMED),
}


@pytest.mark.parametrize(("sent", "expected"), REJECTED.values(), ids=REJECTED)
def test_request_is_rejected_with_its_code_and_stores_nothing(
    worker: Worker, sent: Sent, expected: tuple[int, str]
) -> None:
    before, request = worker.position(), build(sent)
    answer = worker.exchange(request)
    assert (answer.status, answer.code) == expected, answer
    assert worker.position() == before
    assert set(answer.json()) == {"type", "title", "status", "code", "detail"}
    assert answer.json()["status"] == answer.status
    # Of the refusal of a page a browser may tell that it is one, and no more.
    shown = {name: text for name, text in answer.headers.items() if name.startswith("Access-Control-")}
    assert shown == ({"Access-Control-Allow-Origin": "*"} if answer.code == "origin" else {})
    if answer.status == 405:
        assert answer.headers["Allow"] == "OPTIONS, POST"
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"]


def build(sent: Sent) -> bytes:
    return sent() if callable(sent) else sent


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
def test_response_repeats_nothing_that_the_client_sent(worker: Worker, sent: bytes) -> None:
    answer = worker.exchange(sent)
    assert 400 <= answer.status < 500
    assert MARKED.lower() not in answer.body.decode("utf-8").lower()


MALFORMED_REQUESTS = {
    "a broken header": f"POST /v1/events HTTP/1.1\r\nHost: x\r\n{MARKED} : x\r\n\r\n".encode(),
    "a broken length": wire(JSON, length=MARKED),
    "an unknown method": wire(method=MARKED),
    "a long header": wire(f"X-Mark: {MARKED * 1000}"),
}


@pytest.mark.parametrize("sent", MALFORMED_REQUESTS.values(), ids=MALFORMED_REQUESTS)
def test_problem_of_malformed_http_repeats_nothing_either(worker: Worker, sent: bytes) -> None:
    answer = worker.exchange(sent)
    assert answer.status == 400
    assert MARKED not in answer.body.decode("utf-8")
    assert answer.code


@pytest.fixture
def connection(worker: Worker) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", worker.port), TIMEOUT_S) as opened:
        yield opened


KEPT_ALIVE = [name for name in REJECTED if REJECTED[name][1][1] not in {"http", "too_large"}]


@pytest.mark.parametrize("name", KEPT_ALIVE)
def test_connection_is_kept_after_a_rejected_request(connection: socket.socket, name: str) -> None:
    sent, (status, _) = REJECTED[name]
    assert exchange(connection, build(sent)).status == status
    assert exchange(connection, page()).status == 200


def test_connection_is_kept_after_a_rejected_batch(connection: socket.socket) -> None:
    assert exchange(connection, page(batch(event(name="")))).status == 422
    assert exchange(connection, page()).status == 200
