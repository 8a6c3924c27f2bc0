"""Requests to POST /v1/events as they stand on the wire."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Sequence
from functools import cache

import zstandard

from tests.builders.server import INGEST_KEY, Answer, read_answer
from tests.builders.waiting import TIMEOUT_S

HOST = "example.com"
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d+) [^\r]*\r\n")
REQUEST_ID = re.compile(r"[0-9a-f]{16}")


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


def wire(
    *headers: str, body: bytes = b"", method: str = "POST", path: str = "/v1/events", length: str | None = None
) -> bytes:
    """A request with exactly these headers, Host and (unless `length` is empty)
    Content-Length.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}"] if length != "" else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def page(body: bytes = VALID, *headers: str, media_type: str = JSON) -> bytes:
    """As a page of the same origin sends it, with consent."""
    return wire(SAME_ORIGIN, CONSENT, media_type, *headers, body=body)


def cookie(header: str) -> bytes:
    """As a page of the same origin sends it, with nothing but this cookie for
    consent.
    """
    return wire(SAME_ORIGIN, JSON, f"Cookie: {header}", body=VALID)


def keyed(body: bytes = VALID, *headers: str) -> bytes:
    """As a server with a key sends it, with consent."""
    return wire(KEY, CONSENT, JSON, *headers, body=body)


def in_chunks(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def coded(body: bytes, coding: str = "chunked", who: str = SAME_ORIGIN) -> bytes:
    """With Transfer-Encoding and the body as it is."""
    return wire(who, CONSENT, JSON, f"Transfer-Encoding: {coding}", length="") + body


def chunked(*chunks: bytes) -> bytes:
    return coded(in_chunks(*chunks))


def padded(size: int) -> bytes:
    return VALID + b" " * (size - len(VALID))


def encoded(encoding: str, body: bytes) -> bytes:
    return page(body, f"Content-Encoding: {encoding}")


def with_line(line: bytes) -> bytes:
    """A valid request with this line among its headers."""
    return page().replace(b"\r\n", b"\r\n" + line, 1)


def asking(line: bytes) -> bytes:
    """A valid request with this request line."""
    return line + page()[len(b"POST /v1/events HTTP/1.1") :]


def zstd(content: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(content) + compressor.flush()


def zstd_window(content: bytes, window_log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


@cache
def bomb() -> bytes:
    """60 MiB of zeros in 60 KB of gzip."""
    return gzip.compress(bytes(60 << 20))


def nested(depth: int, brackets: str) -> bytes:
    """`depth` arrays or objects in one another."""
    opened, closed = {"arrays": (b"[", b"]"), "objects": (b'{"a":', b"}")}[brackets]
    return opened * depth + (b"1" if brackets == "objects" else b"") + closed * depth


def closing(sent: bytes) -> bytes:
    """The same request as the last one of its connection."""
    return sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


PIPELINED_AT_ONCE = 200  # with thousands a busy machine takes longer than the head of the last one may


def pipelined(port: int, requests: Sequence[bytes]) -> list[int]:
    """The statuses of requests on one connection, many of which are sent without
    waiting for responses.
    """
    found: list[int] = []
    rest = b""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        for start in range(0, len(requests), PIPELINED_AT_ONCE):
            group = requests[start : start + PIPELINED_AT_ONCE]
            connection.sendall(b"".join(group))
            while len(found) < start + len(group):
                block = connection.recv(1 << 20)
                assert block, f"closed after {len(found)} responses"
                *before, rest = _STATUS_LINE.split(rest + block)
                found += [int(status) for status in before[1::2]]
    return found


def assert_problem(received: bytes) -> None:
    """The response is a problem with a request id and our name; no library is named."""
    head, _, body = received.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Server"] == "Foldlog"
    assert REQUEST_ID.fullmatch(headers["X-Request-Id"])
    assert set(json.loads(body)) == {"type", "title", "status", "code", "detail"}
    assert not re.search(rb"aiohttp|python|uvloop|msgspec", received, re.IGNORECASE)


def exchange(connection: socket.socket, sent: bytes) -> Answer:
    connection.sendall(sent)
    return read_answer(connection)
