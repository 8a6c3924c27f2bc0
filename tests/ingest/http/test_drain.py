"""A worker that stops: late requests are answered, get 503, or are cut off; no
acknowledged event is lost.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.builders.server import Answer, Server
from tests.builders.server import keyed as key_headers
from tests.builders.waiting import TIMEOUT_S
from tests.builders.wire import (
    batch,
    event,
    exchange,
    page,
)


def test_body_that_ends_after_sigterm_is_answered_at_once(tmp_path: Path) -> None:
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


def test_stop_is_not_a_crash(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.stop() == 0
        assert "Fatal Python error" not in server.stderr()


@pytest.mark.long
def test_connection_that_keeps_sending_through_a_stop_loses_nothing(tmp_path: Path) -> None:
    """Every 200 is in the log; what comes too late is told so, or the
    connection is closed.
    ."""
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


def complaints(stderr: str) -> list[str]:
    """Log lines that no client may be able to cause."""
    found = re.compile(r'"event":"request_failed"|Traceback|Exception|Error handling|ConnectionResetError|aiohttp')
    return [line for line in stderr.splitlines() if found.search(line)]
