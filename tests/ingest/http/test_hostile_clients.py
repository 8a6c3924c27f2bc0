"""Clients that are slow, vanish, come in crowds or lie about who they are: each gets
its answer, and nobody else notices.

Rows are named by their number in the matrix of bad input, as in
tests/ingest/collect/test_handler.py; the last test counts them.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.builders.server import ADMIN_TOKEN, Answer, Server, read_answer
from tests.builders.server import keyed as key_headers
from tests.builders.waiting import TIMEOUT_S, until
from tests.builders.wire import (
    CONSENT,
    HOST,
    JSON,
    KEY,
    SAME_ORIGIN,
    VALID,
    batch,
    chunked,
    coded,
    event,
    exchange,
    in_chunks,
    keyed,
    padded,
    page,
    wire,
)

SITE = "shop.example"
ORIGIN = f"Origin: https://{SITE}"
CROSS_SITE = "Sec-Fetch-Site: cross-site"
HEAD = page()[: -len(VALID)]
KIB = 1 << 10
SLOW_S = 5.0
IDLE_S = 15.0
LIMIT = 20
REQUEST_ID = re.compile(r"[0-9a-f]{16}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that trusts no proxy and serves pages of another host: after all this it must
    still be the same.
    """
    with Server(tmp_path_factory.mktemp("hostile"), sites=SITE, log_level="debug") as running:
        worker = running.child("ingest-0")
        yield running
        assert running.child("ingest-0") == worker, "the worker was started again"
        assert complaints(running.stderr()) == []


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers behind a proxy that we can play, and few requests for each client."""
    with Server(
        tmp_path_factory.mktemp("limited"),
        workers=2,
        sites=SITE,
        trusted_proxies="127.0.0.1",
        rate_limit=LIMIT,
        rate_window_ms=3_600_000,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with room for few."""
    directory = tmp_path_factory.mktemp("small")
    with Server(directory, max_connections=16, queue_max_bytes="1 MiB", queue_max_requests=1) as running:
        yield running


def complaints(stderr: str) -> list[str]:
    """What a client must never be able to make the server log."""
    found = re.compile(r'"event":"request_failed"|Traceback|Exception|Error handling|ConnectionResetError|aiohttp')
    return [line for line in stderr.splitlines() if found.search(line)]


def dial(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S)


def everything(server: Server, sent: bytes) -> bytes:
    """Every byte that the server says until it closes the connection."""
    with dial(server) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def closing(sent: bytes) -> bytes:
    """The same request as the last one of its connection."""
    return sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def names(server: Server) -> list[str]:
    return [line["name"] for line in server.lines()]


# Slow clients: all of them at once, in a thread, while the other tests of this module
# run.


class Told(NamedTuple):
    """What a client heard: every byte, when the last answer began, and when the
    connection was closed (None: it was not).
    """

    said: bytes
    answered_s: float
    closed_s: float | None

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+)", self.said)]

    @property
    def code(self) -> str:
        return str(json.loads(self.said.rpartition(b"\r\n\r\n")[2])["code"])


Step = bytes | float


async def converse(port: int, steps: Sequence[Step]) -> Told:
    """Send bytes, wait seconds, in this order; listen until the connection is
    closed.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    said, answered_s, closed_s = b"", 0.0, None

    async def talk() -> None:
        for step in steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                writer.write(step)

    talking = asyncio.create_task(talk())
    with suppress(TimeoutError, ConnectionResetError):
        async with asyncio.timeout(TIMEOUT_S):
            while block := await reader.read(65536):
                said += block
                answered_s = time.monotonic() - started
            closed_s = time.monotonic() - started
    talking.cancel()
    writer.close()
    return Told(said, answered_s, closed_s)


def a_byte_a_second(sent: bytes) -> list[Step]:
    return [step for byte in sent[:12] for step in (1.0, bytes([byte]))]


def at_10_kb_a_second(body: bytes) -> list[Step]:
    steps: list[Step] = [closing(page(body))[: -len(body)]]
    for start in range(0, len(body), 5000):
        steps += [0.5, body[start : start + 5000]]
    return steps


# Told 408 after five seconds, and closed; the statuses of all answers on the
# connection.
TOO_SLOW: dict[str, tuple[list[Step], list[int]]] = {
    "slow-body: body stalls": ([page()[:-5]], [408]),
    "slow-body: body never begins": ([HEAD], [408]),
    "slow-body: body stalls, with a key": ([keyed()[:-5]], [408]),
    "slow-body: body at a byte a second": ([HEAD, *a_byte_a_second(VALID)], [408]),
    "slow-body: chunks at a byte a second": ([coded(b""), *a_byte_a_second(in_chunks(VALID))], [408]),
    "slow-body: chunk stalls": ([chunked(VALID)[:-12]], [408]),
    "slow-body: last chunk does not end": ([chunked(VALID)[:-2]], [408]),
    "slow-body: trailers do not end": ([chunked(VALID)[:-2] + b"X-Late: x\r\n"], [408]),
    "slow-body: gzip stalls in its first chunk": (
        [coded(b"5\r\n\x1f\x8b\x08").replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)],
        [408],
    ),
    "slow-body: Expect: 100-continue and nothing more": (
        [page(VALID, "Expect: 100-continue")[: -len(VALID)]],
        [100, 408],
    ),
    "slow-body: body of a second request stalls": ([page(), 0.5, page()[:-5]], [200, 408]),
    "slow-head: head stalls": ([page()[:30]], [408]),
    "slow-head: head stalls before its last line": ([HEAD[:-2]], [408]),
    "slow-head: head at a byte a second": (a_byte_a_second(page()), [408]),
    "slow-head: head of a second request stalls": ([page(), 0.5, page()[:30]], [200, 408]),
}
LAST = closing(page())
SLOW_ENOUGH: dict[str, list[Step]] = {
    "slow-body: body in two parts with a second between": [LAST[:-5], 1.0, LAST[-5:]],
    "slow-body: body of 60 KB at 10 KB a second": at_10_kb_a_second(padded(60_000)),
    "slow-head: head in two parts with a second between": [LAST[:30], 1.0, LAST[30:]],
    "slow-head: second request after ten seconds": [page(), 10.0, LAST],
}
# Closed after 15 seconds without a word; the statuses before.
IDLE: dict[str, tuple[list[Step], list[int]]] = {
    "slow-head: nothing is said": ([], []),
    "slow-head: nothing more is said": ([page()], [200]),
    "slow-head: nothing more than half a head that came with the request before": ([page() + page()[:30]], [200]),
}


@pytest.fixture(scope="module", autouse=True)
def conversations(server: Server) -> Iterator[Future[dict[str, Told]]]:
    """What became of each slow client, once the slowest is done."""
    clients = {name: steps for name, (steps, _) in (TOO_SLOW | IDLE).items()} | SLOW_ENOUGH

    async def converse_all() -> dict[str, Told]:
        found = await asyncio.gather(*[converse(server.port, steps) for steps in clients.values()])
        return dict(zip(clients, found, strict=True))

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(asyncio.run, converse_all())


# Clients that vanish.

GONE = batch(event(name="gone"))
REPORT = f"GET /admin/api/report HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode()
# What was sent before the client went away, none of it a whole request to store
# something.
UNFINISHED = {
    "vanishing-client: before the first byte": b"",
    "vanishing-client: in the head": page(GONE)[:30],
    "vanishing-client: in the body": page(GONE)[:-5],
    "vanishing-client: in a chunk": chunked(GONE)[:-12],
    "vanishing-client: before the last chunk": chunked(GONE)[:-5],
    "vanishing-client: before the body": page(GONE)[: -len(GONE)],
    "vanishing-client: before the body, after 100 Continue": page(GONE, "Expect: 100-continue")[: -len(GONE)],
    "vanishing-client: after a head that is refused": wire(JSON, body=GONE)[: -len(GONE)],
    "vanishing-client: after a body that is too large": wire(KEY, CONSENT, JSON, length="9" * 9) + GONE,
    "vanishing-client: after broken HTTP": b"X : y\r\n\r\n",
}
FINISHED = {
    "vanishing-client: after the body": page(GONE),
    "vanishing-client: after three requests": page(GONE) * 3,
    "vanishing-client: after the body and half a head": page(GONE) + page()[:30],
    "vanishing-client: while a report is made": REPORT,
    "vanishing-client: while a large answer is sent": f"GET /admin/uPlot.iife.min.js HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    * 50,
}


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


VANISHINGS: dict[str, Callable[[socket.socket], None]] = {"close": socket.socket.close, "reset": reset}


def vanish(server: Server, sent: bytes, how: Callable[[socket.socket], None]) -> list[str]:
    """Send and go away, at once and a little later. Returns what the server logged, but
    for what others made it log.
    """
    before = len(server.stderr())
    for pause_s in (0, 0.001, 0.02):
        connection = dial(server)
        connection.sendall(sent)
        time.sleep(pause_s)
        how(connection)
    time.sleep(0.1)
    assert server.exchange(page()).status == 200
    return [line for line in server.stderr()[before:].splitlines() if '"code":"slow"' not in line]


@pytest.mark.parametrize("how", VANISHINGS.values(), ids=VANISHINGS)
@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
def test_client_that_vanishes_stores_nothing_and_leaves_at_most_a_line(
    server: Server, sent: bytes, how: Callable[[socket.socket], None]
) -> None:
    before = names(server).count("gone")
    logged = vanish(server, sent, how)
    assert names(server).count("gone") == before
    assert len(logged) <= 3
    assert complaints("\n".join(logged)) == []


@pytest.mark.parametrize("how", VANISHINGS.values(), ids=VANISHINGS)
@pytest.mark.parametrize("sent", FINISHED.values(), ids=FINISHED)
def test_client_that_does_not_wait_for_its_answer_leaves_no_line(
    server: Server, sent: bytes, how: Callable[[socket.socket], None]
) -> None:
    assert vanish(server, sent, how) == []


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
def test_half_close_of_an_unfinished_request_stores_nothing(server: Server, sent: bytes) -> None:
    """Row 30."""
    before = names(server).count("gone")
    with dial(server) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 200 OK" not in said
    assert names(server).count("gone") == before
    assert complaints(server.stderr()) == []


def test_half_close_after_a_whole_request_is_answered(server: Server) -> None:
    with dial(server) as connection:
        connection.sendall(page())
        connection.shutdown(socket.SHUT_WR)
        assert read_answer(connection).status == 200


# Requests that are HTTP in a way that few clients speak it.


def test_broken_chunk_is_refused_at_once_though_its_head_came_alone(server: Server) -> None:
    """Row 13."""
    with dial(server) as connection:
        connection.sendall(coded(b""))
        time.sleep(0.2)
        # 408 would be the answer to a body that was waited for.
        assert exchange(connection, b"zz\r\n{}\r\n0\r\n\r\n").status == 400


def test_length_written_with_thousands_of_zeros_is_no_defect(server: Server) -> None:
    """Row 8."""
    length = str(len(VALID)).zfill(5000)
    assert server.exchange(wire(SAME_ORIGIN, CONSENT, JSON, body=VALID, length=length)).status in {200, 400}


SIGNED = {
    "400 body": closing(page(b"{")),
    "401": closing(page(VALID, "Authorization: Bearer x")),
    "403 origin": closing(wire(CONSENT, JSON, body=VALID)),
    "403 consent": closing(wire(SAME_ORIGIN, JSON, body=VALID)),
    "403 preflight": closing(wire(method="OPTIONS")),
    "404": closing(wire(path="/nothing")),
    "405": closing(wire(method="PUT")),
    "413": closing(page(padded(65 * KIB))),
    "415": closing(page(media_type="Content-Type: text/html")),
    "417": closing(page(VALID, "Expect: bananas")),
    "422": closing(page(b"null")),
    "400 broken request line": b"GET\r\n\r\n",
    "400 broken header": b"GET / HTTP/1.1\r\nHost: x\r\nX-Mark : y\r\n\r\n",
    "400 broken chunk": coded(b"zz\r\n"),
    "400 long header": page(VALID, "X-Mark: " + "x" * 9000),
    "400 no Host": b"GET / HTTP/1.1\r\n\r\n",
    "400 HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


def assert_signed(said: bytes) -> None:
    """A problem with an id and our name, in which no library is named."""
    head, _, body = said.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Server"] == "Foldlog"
    assert REQUEST_ID.fullmatch(headers["X-Request-Id"])
    assert set(json.loads(body)) == {"type", "title", "status", "code", "detail"}
    assert not re.search(rb"aiohttp|python|uvloop|msgspec", said, re.IGNORECASE)


@pytest.mark.parametrize("sent", SIGNED.values(), ids=SIGNED)
def test_every_refusal_has_an_id_and_names_no_library(server: Server, sent: bytes) -> None:
    assert_signed(everything(server, sent))


def test_ids_of_refusals_are_all_different(server: Server) -> None:
    assert len({server.exchange(page(b"{")).headers["X-Request-Id"] for _ in range(20)}) == 20


def test_id_of_a_client_that_is_no_trusted_proxy_is_not_taken(server: Server) -> None:
    answer = server.exchange(page(b"{", "X-Request-Id: 0123456789abcdef0123"))
    assert REQUEST_ID.fullmatch(answer.headers["X-Request-Id"])


# Pages of other hosts.


def allowed(answer: Answer) -> dict[str, str]:
    """The headers that let a page of another host see the answer."""
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


READABLE = {
    "Access-Control-Allow-Origin": f"https://{SITE}",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "Retry-After",
}


def test_preflight_of_a_configured_site_is_allowed(server: Server) -> None:
    """Row 25."""
    answer = server.exchange(wire(ORIGIN, "Access-Control-Request-Method: POST", method="OPTIONS", length=""))
    assert (answer.status, answer.body) == (204, b"")
    found = allowed(answer)
    assert {name: found.pop(name) for name in READABLE} == READABLE
    assert found.pop("Access-Control-Allow-Methods") == "POST"
    assert {name.strip() for name in found.pop("Access-Control-Allow-Headers").split(",")} >= {
        "Content-Type",
        "Content-Encoding",
        "Foldlog-Consent",
    }
    assert int(found.pop("Access-Control-Max-Age")) > 0
    assert found == {}
    assert answer.headers["Vary"] == "Origin"


STRANGERS = {
    "cross-origin: another site": "Origin: https://evil.example",
    "cross-origin: a host that ends like a site": f"Origin: https://evil{SITE}",
    "cross-origin: a subdomain of a site": f"Origin: https://evil.{SITE}",
    "cross-origin: a site as user name": f"Origin: https://{SITE}@evil.example",
    "cross-origin: a sandbox": "Origin: null",
    "cross-origin: an extension": f"Origin: chrome-extension://{SITE}",
    "cross-origin: our own host": f"Origin: https://{HOST}",
    "cross-origin: no origin": "Accept: */*",
    "cross-origin: two origins in one": f"Origin: https://evil.example, https://{SITE}",
}


@pytest.mark.parametrize("header", STRANGERS.values(), ids=STRANGERS)
def test_preflight_of_anybody_else_is_refused_without_a_word_of_permission(server: Server, header: str) -> None:
    answer = server.exchange(wire(header, "Access-Control-Request-Method: POST", method="OPTIONS", length=""))
    assert (answer.status, answer.code) == (403, "origin")
    assert allowed(answer) == {}


# An answer to POST, and whether a page of the configured site on another host may see
# it.
ANSWERS: dict[str, tuple[bytes, int, bool]] = {
    "cross-origin: stored": (wire(ORIGIN, CROSS_SITE, CONSENT, JSON, body=VALID), 200, True),
    "cross-origin: stored, from an older browser": (wire(ORIGIN, CONSENT, JSON, body=VALID), 200, True),
    "cross-origin: partly stored": (wire(ORIGIN, CONSENT, JSON, body=batch(event(), event(name=""))), 200, True),
    "cross-origin: rejected": (wire(ORIGIN, CONSENT, JSON, body=batch(event(name=""))), 422, True),
    "cross-origin: no consent": (wire(ORIGIN, CROSS_SITE, JSON, body=VALID), 403, True),
    "cross-origin: media type": (wire(ORIGIN, CROSS_SITE, CONSENT, "Content-Type: text/html", body=VALID), 415, True),
    "cross-origin: not JSON": (wire(ORIGIN, CROSS_SITE, CONSENT, JSON, body=b"{"), 400, True),
    "cross-origin: too large": (wire(ORIGIN, CROSS_SITE, CONSENT, JSON, length="70000"), 413, True),
    "cross-origin: bad key": (wire(ORIGIN, "Authorization: Bearer x", CONSENT, JSON, body=VALID), 401, True),
    "cross-origin: same origin": (page(VALID, f"Origin: https://{HOST}"), 200, False),
    "cross-origin: same origin, rejected": (page(batch(event(name="")), f"Origin: https://{HOST}"), 422, False),
    "cross-origin: same origin, refused": (page(b"{", f"Origin: https://{HOST}"), 400, False),
    "cross-origin: no origin": (page(), 200, False),
    "cross-origin: unknown origin": (wire("Origin: https://evil.example", CONSENT, JSON, body=VALID), 403, False),
    "cross-origin: unknown origin, media type": (wire("Origin: https://evil.example", CONSENT, body=VALID), 415, False),
    "cross-origin: sandbox": (wire("Origin: null", CROSS_SITE, CONSENT, JSON, body=VALID), 403, False),
    "cross-origin: key, from a server": (keyed(), 200, False),
}


@pytest.mark.parametrize(("sent", "status", "readable"), ANSWERS.values(), ids=ANSWERS)
def test_answer_is_readable_for_pages_of_configured_sites_only(
    server: Server, sent: bytes, status: int, readable: bool
) -> None:
    answer = server.exchange(sent)
    assert answer.status == status
    assert allowed(answer) == (READABLE if readable else {})
    assert not readable or answer.headers["Vary"] == "Origin"


# Who a client says that it is.

FORGED = {
    "forwarded-for: no header": [],
    "forwarded-for: our own address": ["X-Forwarded-For: 127.0.0.1"],
    "forwarded-for: another address": ["X-Forwarded-For: 203.0.113.9"],
    "forwarded-for: two headers": ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 203.0.113.10"],
    "forwarded-for: 100 addresses": ["X-Forwarded-For: " + ", ".join(f"203.0.113.{n}" for n in range(100))],
    "forwarded-for: IPv6": ["X-Forwarded-For: 2001:db8::9"],
    "forwarded-for: noise": ["X-Forwarded-For: \xff, unknown, _hidden, 1.2.3"],
    "forwarded-for: other headers": [
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 203.0.113.9",
        "X-Forwarded-Host: evil.example",
    ],
}


def visitor(server: Server, *headers: str) -> tuple[str, str]:
    """The visitor and the site of what these headers come with."""
    id_ = f"forged-{time.monotonic_ns()}"
    assert server.exchange(page(batch(event(id=id_)), *headers)).status == 200
    (found,) = [(line["visitor"], line["site"]) for line in server.lines() if line["id"] == id_]
    return found


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_address_that_an_untrusted_peer_forwards_is_ignored(server: Server, headers: list[str]) -> None:
    assert visitor(server, *headers) == visitor(server)


PROXIED = {
    "forwarded-for: forged before the proxy's": ["X-Forwarded-For: 127.0.0.1, 198.51.100.1, 203.0.113.9"],
    "forwarded-for: forged in a header of its own": ["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.9"],
    "forwarded-for: 100 forged": ["X-Forwarded-For: " + "198.51.100.1, " * 100 + "203.0.113.9"],
    "forwarded-for: forged noise": ["X-Forwarded-For: \xff, <script>, 203.0.113.9"],
}


@pytest.mark.parametrize("headers", PROXIED.values(), ids=PROXIED)
def test_address_that_a_trusted_proxy_forwards_is_the_one_it_saw(limited: Server, headers: list[str]) -> None:
    assert visitor(limited, *headers) == visitor(limited, "X-Forwarded-For: 203.0.113.9")
    assert visitor(limited, *headers) != visitor(limited, "X-Forwarded-For: 198.51.100.1")


# Crowds.

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d+) [^\r]*\r\n")


def pipelined(server: Server, requests: Sequence[bytes]) -> list[int]:
    """The statuses of requests that are sent on one connection, none of them waiting
    for the answer to another.
    """
    with dial(server) as connection:
        sending = threading.Thread(target=connection.sendall, args=(b"".join(requests),))
        sending.start()
        found: list[int] = []
        rest = b""
        while len(found) < len(requests):
            block = connection.recv(1 << 20)
            assert block, f"closed after {len(found)} answers"
            *before, rest = STATUS_LINE.split(rest + block)
            found += [int(status) for status in before[1::2]]
        sending.join()
        return found


def from_address(address: str, body: bytes = VALID) -> bytes:
    return page(body, f"X-Forwarded-For: {address}")


def test_client_beyond_its_limit_is_told_when_it_may_again(limited: Server) -> None:
    """Row 78: the two workers count together, whichever connections they have."""
    statuses = Counter(limited.exchange(from_address("192.0.2.1")).status for _ in range(2 * LIMIT))
    assert set(statuses) == {200, 429}
    assert LIMIT <= statuses[200] <= LIMIT + 1
    answer = limited.exchange(from_address("192.0.2.1"))
    assert (answer.status, answer.code) == (429, "rate_limit")
    assert 0 < int(answer.headers["Retry-After"]) <= 2 * 3600
    assert answer.headers["RateLimit-Limit"] == str(LIMIT)
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["RateLimit-Reset"] == answer.headers["Retry-After"]
    assert answer.headers["RateLimit-Policy"] == f"{LIMIT};w=3600"
    assert limited.exchange(from_address("192.0.2.2")).status == 200


def test_client_on_one_connection_has_the_whole_limit(limited: Server) -> None:
    """Row 78: not a worker's share of it."""
    statuses = pipelined(limited, [from_address("192.0.2.3")] * (2 * LIMIT))
    assert statuses == [200] * LIMIT + [429] * LIMIT


def test_page_of_another_host_can_read_that_it_is_limited(limited: Server) -> None:
    """Rows 25 and 78."""
    sent = wire(ORIGIN, CONSENT, JSON, "X-Forwarded-For: 192.0.2.4", body=VALID)
    assert pipelined(limited, [sent] * (LIMIT + 1))[-1] == 429
    answer = limited.exchange(sent)
    assert (answer.status, allowed(answer)) == (429, READABLE)


def test_requests_with_a_key_are_neither_limited_nor_counted(limited: Server) -> None:
    """Row 78."""
    sent = keyed(VALID, "X-Forwarded-For: 192.0.2.5")
    assert set(pipelined(limited, [sent] * (3 * LIMIT))) == {200}
    assert set(pipelined(limited, [from_address("192.0.2.5")] * LIMIT)) == {200}


def test_refused_before_the_limit_is_not_counted(limited: Server) -> None:
    """Row 78: what the gate refuses costs next to nothing, and a page of another site
    must not use up our visitor's limit.
    """
    sent = wire("Origin: https://evil.example", CONSENT, JSON, "X-Forwarded-For: 192.0.2.6", body=VALID)
    assert set(pipelined(limited, [sent] * (3 * LIMIT))) == {403}
    assert limited.exchange(from_address("192.0.2.6")).status == 200


def test_ten_thousand_addresses_of_one_network_are_one_client(limited: Server) -> None:
    """Row 78: a household has a /64, and whoever attacks has it as well."""
    addresses = [f"2001:db8:1:1:{number:x}:{number * 7919 % 65536:x}::{number:x}" for number in range(10_000)]
    statuses = Counter(pipelined(limited, [from_address(address) for address in addresses]))
    assert statuses == {200: LIMIT, 429: 10_000 - LIMIT}
    assert limited.exchange(from_address("2001:db8:1:2::1")).status == 200
    assert limited.exchange(from_address("2001:db8:2:1::1")).status == 200


def test_many_networks_of_one_customer_are_limited_together(limited: Server) -> None:
    """Row 78: a /56 has 256 networks and may send 8 times the limit."""
    addresses = [f"2001:db8:3:{number % 256:x}::1" for number in range(12 * LIMIT)]
    statuses = Counter(pipelined(limited, [from_address(address) for address in addresses]))
    assert statuses == {200: 8 * LIMIT, 429: 4 * LIMIT}
    assert limited.exchange(from_address("2001:db8:3:100::1")).status == 200


def test_without_a_limit_nobody_is_limited(server: Server) -> None:
    """Row 78: FOLDLOG_RATE_LIMIT=0."""
    assert set(pipelined(server, [page(b"{")] * 2000)) == {400}


@contextmanager
def sixteen(server: Server) -> Iterator[list[socket.socket]]:
    """As many connections as there may be."""
    until_alone(server)
    with ExitStack() as stack:
        held = [stack.enter_context(dial(server)) for _ in range(16)]
        for connection in held:  # an answer on each: the server has taken them all
            assert exchange(connection, page()).status == 200
        yield held


def test_seventeenth_connection_of_sixteen_is_told_so(small: Server) -> None:
    with sixteen(small) as held:
        answer = small.exchange(page())
        assert (answer.status, answer.code) == (503, "connections")
        assert answer.headers["Connection"] == "close"
        assert int(answer.headers["Retry-After"]) > 0
        assert exchange(held[7], page()).status == 200
        held[0].close()
        until(lambda: small.exchange(page()).status == 200)


def test_refused_connection_has_an_id_and_names_no_library(small: Server) -> None:
    with sixteen(small):
        assert_signed(everything(small, b""))


def until_alone(server: Server) -> None:
    """Wait until the connections of the tests before are gone: the limit of connections
    is no business of the next one.
    """
    until(lambda: b'foldlog_connections{worker="0"} 1.0\n' in server.request("GET", "/metrics").body)


def test_bodies_under_way_are_bounded_together(small: Server) -> None:
    """Three that are within their own limit, and not within that of all together."""
    until_alone(small)
    sent = keyed(padded(900 * KIB))
    with ExitStack() as stack:
        first, second, third = [stack.enter_context(dial(small)) for _ in range(3)]
        first.sendall(sent[:-10])
        time.sleep(1)
        for connection in (second, third):
            with suppress(ConnectionError):
                connection.sendall(sent[:-10])
            answer = read_answer(connection)
            assert (answer.status, answer.code) == (503, "busy")
            assert answer.headers["Connection"] == "close"
            assert int(answer.headers["Retry-After"]) > 0
        assert exchange(first, sent[-10:]).status == 200
        assert small.exchange(sent).status == 200


def test_full_queue_is_503_with_retry_after_and_loses_nothing(small: Server) -> None:
    """Row 82: where one request may wait for the disk, ten at once are too many."""
    stored: list[str] = []
    refused: list[Answer] = []

    def send(client: int) -> None:
        for number in range(40):
            id_ = f"queue-{client}-{number:03}"
            answer = small.post([{"name": "x", "id": id_}])
            if answer.status == 200:
                stored.append(id_)
            else:
                refused.append(answer)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(send, range(10)))
    assert refused
    assert {(answer.status, answer.code, answer.headers["Retry-After"]) for answer in refused} == {(503, "busy", "1")}
    assert stored
    ids = [line["id"] for line in small.lines() if line["id"].startswith("queue-")]
    assert sorted(ids) == sorted(stored)


@pytest.mark.long
def test_connection_that_goes_on_sending_through_a_stop_loses_nothing(tmp_path: Path) -> None:
    """Row 83: every 200 is in the log; what comes too late is told so, or the
    connection is closed.
    """
    stored: list[str] = []
    others: list[Answer] = []

    def send(client: int, port: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        with suppress(OSError, HTTPException):
            for number in range(100_000):
                id_ = f"stop-{client}-{number:06}"
                connection.request(
                    "POST", "/v1/events", batch(event(id=id_)), key_headers() | {"Foldlog-Consent": "granted"}
                )
                response = connection.getresponse()
                answer = Answer(response.status, response.headers, response.read())
                if answer.status == 200:
                    stored.append(id_)
                else:
                    others.append(answer)
        connection.close()

    with Server(tmp_path) as stopped:
        clients = [threading.Thread(target=send, args=(client, stopped.port)) for client in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.5)
        assert stopped.stop() == 0
        for client in clients:
            client.join(TIMEOUT_S)
        assert len(stored) > len(clients)
        assert {(answer.code, answer.headers["Connection"]) for answer in others} <= {("stopping", "close")}
        assert set(stored) <= {line["id"] for line in stopped.lines()}
        assert complaints(stopped.stderr()) == []


# The slow ones again: by now most of them have been answered.


@pytest.mark.parametrize("name", TOO_SLOW)
def test_slow_client_is_told_so_and_closed(conversations: Future[dict[str, Told]], name: str) -> None:
    told = conversations.result(2 * TIMEOUT_S)[name]
    assert told.statuses == TOO_SLOW[name][1]
    assert told.code == "slow"
    assert told.answered_s > SLOW_S - 0.2
    assert told.closed_s is not None


@pytest.mark.parametrize("name", SLOW_ENOUGH)
def test_client_that_is_a_little_slow_is_served(conversations: Future[dict[str, Told]], name: str) -> None:
    assert set(conversations.result(2 * TIMEOUT_S)[name].statuses) == {200}


@pytest.mark.parametrize("name", IDLE)
def test_idle_connection_is_closed_without_a_word(conversations: Future[dict[str, Told]], name: str) -> None:
    told = conversations.result(2 * TIMEOUT_S)[name]
    assert told.statuses == IDLE[name][1]
    assert told.closed_s is not None
    assert told.closed_s > IDLE_S - 0.2


@pytest.mark.parametrize("name", ["28 body stalls", "29 head stalls"])
def test_slow_client_gets_an_id_and_no_library_named(conversations: Future[dict[str, Told]], name: str) -> None:
    assert_signed(conversations.result(2 * TIMEOUT_S)[name].said)


# Where a row is whose number is not in the name of a row of a table: the file and the
# test.
ELSEWHERE = {
    27: ("test_handler.py", "test_pipelined_requests_are_answered_in_order"),
    61: ("test_handler.py", "test_id_that_is_sent_again_counts_once"),
    62: ("test_handler.py", "test_id_that_is_sent_again_counts_once"),
    67: ("test_admin.py", "test_path_that_is_not_there_is_404_with_or_without_a_token"),
    73: ("test_admin.py", "test_route_asks_for_a_token_that_may"),
    78: ("test_hostile_clients.py", "test_ten_thousand_addresses_of_one_network_are_one_client"),
    81: ("test_handler.py", "test_nearly_full_disk_is_507_with_retry_after_and_stores_nothing"),
    82: ("test_hostile_clients.py", "test_full_queue_is_503_with_retry_after_and_loses_nothing"),
    83: ("test_hostile_clients.py", "test_connection_that_goes_on_sending_through_a_stop_loses_nothing"),
    84: ("test_handler.py", "test_id_counts_anew_once_it_is_older_than_an_event_may_be"),
}
ROWS = 84


@pytest.mark.long
def test_every_row_of_bad_input_has_a_test() -> None:
    files = {path.name: path.read_text("utf-8") for path in Path(__file__).parents[2].rglob("test_*.py")}
    rows = re.compile(r'^ {4}f?"(\d+) ', re.MULTILINE)
    tables = ("test_handler.py", "test_hostile_clients.py", "test_admin.py")
    named_rows = {int(number) for file in tables for number in rows.findall(files[file])}
    for file, test in ELSEWHERE.values():
        assert re.search(rf"^(async )?def {test}\(", files[file], re.MULTILINE), (file, test)
    assert set(range(1, ROWS + 1)) - named_rows - set(ELSEWHERE) == set()
