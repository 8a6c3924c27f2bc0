"""Clients that disconnect without waiting for the response.

Rows are named by their rule in docs/bad-input.md.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from tests.builders.server import ADMIN_TOKEN, Server, read_answer
from tests.builders.wire import (
    CONSENT,
    HOST,
    JSON,
    KEY,
    batch,
    chunked,
    event,
    page,
    wire,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One `foldlog serve`: its worker must survive every test."""
    with Server(tmp_path_factory.mktemp("hostile"), log_level="debug") as running:
        pid = running.child("ingest-0")
        yield running
        assert running.child("ingest-0") == pid, "the worker was restarted"
        assert complaints(running.stderr()) == []


def gone_lines(server: Server) -> int:
    return sum(line["name"] == "gone" for line in server.lines())


def complaints(stderr: str) -> list[str]:
    """Log lines that no client may be able to cause."""
    found = re.compile(r'"event":"request_failed"|Traceback|Exception|Error handling|ConnectionResetError|aiohttp')
    return [line for line in stderr.splitlines() if found.search(line)]


GONE = batch(event(name="gone"))
REPORT = f"GET /admin/api/report HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode()
# What was sent before the client disconnected; no complete valid request.
UNFINISHED = {
    "vanishing-client: before the first byte": b"",
    "vanishing-client: in the head": page(GONE)[:30],
    "vanishing-client: in the body": page(GONE)[:-5],
    "vanishing-client: in a chunk": chunked(GONE)[:-12],
    "vanishing-client: before the last chunk": chunked(GONE)[:-5],
    "vanishing-client: before the body": page(GONE)[: -len(GONE)],
    "vanishing-client: before the body, after 100 Continue": page(GONE, "Expect: 100-continue")[: -len(GONE)],
    "vanishing-client: after a rejected head": wire(JSON, body=GONE)[: -len(GONE)],
    "vanishing-client: after a body that is too large": wire(KEY, CONSENT, JSON, length="9" * 9) + GONE,
    "vanishing-client: after malformed HTTP": b"X : y\r\n\r\n",
}
FINISHED = {
    "vanishing-client: after the body": page(GONE),
    "vanishing-client: after three requests": page(GONE) * 3,
    "vanishing-client: after the body and half a head": page(GONE) + page()[:30],
    "vanishing-client: while a report is made": REPORT,
    "vanishing-client: while a large response is sent": f"GET /admin/uPlot.iife.min.js HTTP/1.1\r\nHost: "
    f"{HOST}\r\n\r\n".encode()
    * 50,
}


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


DISCONNECTS: dict[str, Callable[[socket.socket], None]] = {"close": socket.socket.close, "reset": reset}


def disconnect(server: Server, sent: bytes, how: Callable[[socket.socket], None]) -> list[str]:
    """Send and disconnect, at once and a little later. Returns what the server
    logged.
    """
    before = len(server.stderr())
    for pause_s in (0, 0.001, 0.02):
        connection = server.connect()
        connection.sendall(sent)
        time.sleep(pause_s)
        how(connection)
    time.sleep(0.1)
    assert server.exchange(page()).status == 200
    return [line for line in server.stderr()[before:].splitlines() if '"code":"slow"' not in line]


@pytest.mark.parametrize("how", DISCONNECTS.values(), ids=DISCONNECTS)
@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
def test_unfinished_request_stores_nothing_and_logs_at_most_a_line(
    server: Server, sent: bytes, how: Callable[[socket.socket], None]
) -> None:
    before = gone_lines(server)
    logged = disconnect(server, sent, how)
    assert gone_lines(server) == before
    assert len(logged) <= 3
    assert complaints("\n".join(logged)) == []


@pytest.mark.parametrize("how", DISCONNECTS.values(), ids=DISCONNECTS)
@pytest.mark.parametrize("sent", FINISHED.values(), ids=FINISHED)
def test_client_that_does_not_wait_for_the_response_logs_nothing(
    server: Server, sent: bytes, how: Callable[[socket.socket], None]
) -> None:
    assert disconnect(server, sent, how) == []


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
def test_half_close_of_an_unfinished_request_stores_nothing(server: Server, sent: bytes) -> None:
    before = gone_lines(server)
    with server.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 200 OK" not in received
    assert gone_lines(server) == before
    assert complaints(server.stderr()) == []


def test_complete_request_is_answered_after_a_half_close(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(page())
        connection.shutdown(socket.SHUT_WR)
        assert read_answer(connection).status == 200
