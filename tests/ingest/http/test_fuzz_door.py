"""Bytes at the door, which are HTTP or nearly: never a 5xx, never an event of a
neighbour lost, never a line that is not whole, always an answer or an end in time.
"""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders.corpus import corpus, kept_if_it_fails
from tests.builders.server import ADMIN_TOKEN, lines_of
from tests.builders.waiting import TIMEOUT_S
from tests.builders.wire import KEY, batch, event, keyed, page
from tests.builders.worker import Worker

NAME = "door"
SILENCE_S = 0.08  # of a server that waits for more
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
CPU_S_MAX = 2.0  # a hundred times what it takes
numbers = count()

BODIES = [
    batch(event()),
    batch(event(props={"k" * 100: "\x7f" * 2_000, "": None}), event(name="")),
    b'{"events":[' + b'{"name":"a"},' * 400 + b'{"name":"b"}]}',
    b'{"events":[{"name":"\\ud83d"}]}',
    b"[" * 900,
    b"",
    b"\xff\xfe{}",
    b'{"events":[{"name":"a","value":1' + b"0" * 400 + b"}]}",
    b'{"events":[{"name":"a","name":"b","props":{"c":1,"c":2}}],"consent":"denied"}',
    gzip.compress(bytes(1 << 20), mtime=0),
    gzip.compress(batch(event()), mtime=0)[:-5],
    b"0\r\n\r\n",
    b"ffffffffffffffffff\r\nx\r\n0\r\n\r\n",
]
HEADERS = [
    *(
        b"Content-Type: application/json",
        b"Content-Type: text/plain;charset=\xff",
        b"Content-Type: application/x-ndjson",
    ),
    *(b"Content-Encoding: gzip", b"Content-Encoding: zstd", b"Content-Encoding: gzip, gzip", b"Expect: 100-continue"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: \x0bchunked", b"Content-Length: 5", b"Content-Length: 1_0"),
    *(b"Sec-Fetch-Site: same-origin", b"Origin: null", b"Origin: http://[::1", b"Origin: http://\xc4\xb0.example"),
    *(
        b"Referer: http://a/\xff",
        b"Host: a\xffb",
        b"Host: [::1]:99999",
        b"Host:",
        KEY.encode(),
        b"Authorization: Basic =",
    ),
    *(b"Authorization: Bearer \xff", b"Authorization: Basic \xf0\x9f\x98\x80", b"Sec-GPC: 1, 1", b"DNT: \xb9"),
    *(b"Foldlog-Consent: granted", b"Foldlog-Consent: granted, denied", b"Cookie: analytics_consent=\xff; =; ;;=a=b"),
    *(
        b"User-Agent: " + b"\x80" * 488,
        b"User-Agent:",
        b"Accept-Language: \xc4\xb0-x;q=\xff",
        b"X-Request-Id: \x1b[31m",
    ),
    *(b"X-Forwarded-For: 1.2.3.4, \xff, ::1%eth0", b"X-Forwarded-Host: \xff", b"Connection: upgrade", b"Upgrade: h2c"),
    *(b" folded", b"no-colon", b"\x00: \x00", b"A: " + b"a" * 8_000, b"Accept-Encoding: " + b"gzip," * 900),
]
TARGETS = [
    *(b"/v1/events", b"/v1/events?dry_run=1", b"/v1/events?dry_run=%ff", b"/healthz", b"/metrics", b"/openapi.json"),
    *(b"/admin/", b"/admin/api/status", b"/admin/api/visitors/%ff%00", b"/admin/..%2f..%2fetc/passwd", b"/%", b"*"),
    *(b"http://a\xff/", b"//a", b"/\xc4\xb0", b"/admin/api/report?by=%ff&by=%00", b"/" + b"a" * 9_000, b"", b"/readyz"),
]
METHODS = [b"POST", b"GET", b"OPTIONS", b"DELETE", b"HEAD", b"CONNECT", b"post", b"PO\x00ST", b"TRACE", b""]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"HTTP/1.1 ", b""]


def _request(
    method: bytes, target: bytes, version: bytes, headers: list[bytes], body: bytes, *, is_long: bool
) -> bytes:
    lines = [b"%b %b %b" % (method, target, version), b"Host: 127.0.0.1", *headers]
    lines += [b"Content-Length: %d" % len(body)] if is_long else []
    return b"\r\n".join([*lines, b"", b""]) + body


likely = st.builds(
    _request,
    st.sampled_from(METHODS[:2] * 6 + METHODS),
    st.sampled_from(TARGETS[:1] * 12 + TARGETS),
    st.sampled_from(VERSIONS[:1] * 12 + VERSIONS),
    st.lists(st.sampled_from(HEADERS), max_size=6),
    st.sampled_from(BODIES) | st.binary(max_size=80),
    is_long=st.booleans(),
)
spliced = st.builds(
    lambda whole, at, by, left_out: whole[: at % len(whole)] + by + whole[at % len(whole) + left_out :],
    st.sampled_from([page(), keyed(), page(gzip.compress(BODIES[0], mtime=0), "Content-Encoding: gzip")]) | likely,
    st.integers(0, 100_000),
    st.binary(max_size=6) | st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b"\r\n\r\n"]),
    st.integers(0, 12),
)
inputs = st.lists(likely | spliced | st.binary(max_size=40), min_size=1, max_size=3).map(b"".join)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("door"), durability="os") as made:
        yield made


def statuses(worker: Worker, sent: bytes) -> list[int]:
    """Those of all answers. The connection is given up once the server is silent."""
    received = b""
    with worker.connect(TIMEOUT_S) as connection:
        with suppress(OSError):  # a refusal may come before everything is sent
            connection.sendall(sent)
        connection.settimeout(SILENCE_S)
        with suppress(OSError):
            while block := connection.recv(1 << 16):
                received += block
    return [int(found) for found in STATUS_LINE.findall(received)]


def try_one(worker: Worker, sent: bytes, *, allowed: int = 0) -> None:
    begun = time.process_time()
    found = statuses(worker, sent)
    assert all(100 <= status < 500 or status == allowed for status in found), found
    name = f"neighbour-{next(numbers):06d}"
    assert worker.exchange(keyed(batch(event(name=name, id=name)))).status in (200, 202)
    assert time.process_time() - begun < CPU_S_MAX


def assert_no_neighbour_lost(worker: Worker) -> None:
    """Every line is whole, and each neighbour has one."""
    names = [line["name"] for line in lines_of(worker.data) if line["name"].startswith("neighbour-")]
    assert len(names) == len(set(names))
    last = max((int(name.partition("-")[2]) for name in names), default=-1)
    assert len(names) == last + 1


def test_kept_bytes_cost_no_neighbour_anything(worker: Worker) -> None:
    for content in corpus(NAME):
        try_one(worker, content)
    assert_no_neighbour_lost(worker)


@given(inputs)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_any_bytes_at_the_door_cost_no_neighbour_anything(worker: Worker, sent: bytes) -> None:
    with kept_if_it_fails(NAME, sent):
        try_one(worker, sent)


@given(st.binary(max_size=30), st.sampled_from(["report", "export", "status", "snapshot"]))
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_any_parameters_of_the_operator_are_answered(worker: Worker, query: bytes, path: str) -> None:
    """Percent-encoded or raw; with a token, so that they are read."""
    encoded = b"".join(b"%%%02x" % byte for byte in query)
    for given_ in (b"from=%b&x" % encoded, b"tz=%b" % encoded, b"%b=1" % encoded):
        head = b"GET /admin/api/%b?%b HTTP/1.1\r\nHost: a\r\n" % (path.encode(), given_)
        sent = head + f"Authorization: Bearer {ADMIN_TOKEN}\r\nConnection: close\r\n\r\n".encode()
        with kept_if_it_fails(NAME, sent):
            try_one(worker, sent, allowed=503)  # the exports before may hold their places for a moment


def test_no_neighbour_was_lost(worker: Worker) -> None:
    """After all of the above, where they ran in this process."""
    assert_no_neighbour_lost(worker)
