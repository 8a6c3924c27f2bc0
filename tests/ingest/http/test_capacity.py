"""Limits shared by all clients: connections, bodies being received, the write queue."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.builders.server import Answer, read_answer
from tests.builders.waiting import until
from tests.builders.wire import (
    assert_problem,
    exchange,
    keyed,
    padded,
    page,
)
from tests.builders.worker import Worker

KIB = 1 << 10


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(
        tmp_path_factory.mktemp("small"), max_connections=16, queue_max_bytes="1 MiB", queue_max_requests=1
    ) as running:
        yield running


@contextmanager
def all_connections(worker: Worker) -> Iterator[list[socket.socket]]:
    """As many connections as the worker accepts."""
    until_no_connection(worker)
    with ExitStack() as stack:
        opened = [stack.enter_context(worker.connect()) for _ in range(16)]
        for connection in opened:  # a response on each proves that the worker has accepted it
            assert exchange(connection, page()).status == 200
        yield opened


def test_connection_beyond_the_limit_gets_503(worker: Worker) -> None:
    with all_connections(worker) as opened:
        answer = worker.exchange(page())
        assert (answer.status, answer.code) == (503, "connections")
        assert answer.headers["Connection"] == "close"
        assert int(answer.headers["Retry-After"]) > 0
        assert exchange(opened[7], page()).status == 200
        opened[0].close()
        until(lambda: worker.exchange(page()).status == 200)


def test_rejected_connection_gets_a_problem(worker: Worker) -> None:
    with all_connections(worker):
        assert_problem(worker.read_all(b""))


def until_no_connection(worker: Worker) -> None:
    """Wait until the connections of the previous tests are closed."""
    until(lambda: worker.server.open_connections == 0)


def test_bodies_being_received_share_a_budget(worker: Worker) -> None:
    """Each body is within its own limit; together they exceed the budget."""
    until_no_connection(worker)
    sent = keyed(padded(900 * KIB))
    with ExitStack() as stack:
        first, second, third = [stack.enter_context(worker.connect()) for _ in range(3)]
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
        assert worker.exchange(sent).status == 200


def test_full_queue_is_503_with_retry_after_and_loses_nothing(worker: Worker) -> None:
    """One request may wait for a commit, so ten at once are too many."""
    stored: list[str] = []
    rejected: list[Answer] = []

    def send(client: int) -> None:
        for number in range(40):
            id_ = f"queue-{client}-{number:03}"
            answer = worker.post([{"name": "x", "id": id_}])
            if answer.status == 200:
                stored.append(id_)
            else:
                rejected.append(answer)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(send, range(10)))
    assert rejected
    assert {(answer.status, answer.code, answer.headers["Retry-After"]) for answer in rejected} == {(503, "busy", "1")}
    assert stored
    ids = [line["id"] for line in worker.lines() if line["id"].startswith("queue-")]
    assert sorted(ids) == sorted(stored)
