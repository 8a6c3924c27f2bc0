"""Clients that send slowly or not at all: 408 and a closed connection after the
timeout.

Rows are named by their rule in docs/bad-input.md. All clients run at once, in a thread.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import pytest

from tests.builders.waiting import TIMEOUT_S
from tests.builders.wire import (
    VALID,
    assert_problem,
    chunked,
    closing,
    coded,
    in_chunks,
    keyed,
    padded,
    page,
)
from tests.builders.worker import Worker

SLOW_S = 5.0
# More than a busy machine needs between a connection and its first byte.
IDLE_S = 20.0
HEAD = page()[: -len(VALID)]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("slow"), keep_alive=IDLE_S) as running:
        yield running


class Conversation(NamedTuple):
    """What a client received, when the last byte came, and when the connection was
    closed (None: it was not), in seconds.
    """

    received: bytes
    answered_s: float
    closed_s: float | None

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+)", self.received)]

    @property
    def code(self) -> str:
        return str(json.loads(self.received.rpartition(b"\r\n\r\n")[2])["code"])


Step = bytes | float


async def converse(port: int, steps: Sequence[Step]) -> Conversation:
    """Send the bytes and wait the seconds in order; read until the connection
    closes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    received, answered_s, closed_s = b"", 0.0, None

    async def send() -> None:
        for step in steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                writer.write(step)

    sending = asyncio.create_task(send())
    with suppress(TimeoutError, ConnectionResetError):
        async with asyncio.timeout(TIMEOUT_S):
            while block := await reader.read(65536):
                received += block
                answered_s = time.monotonic() - started
            closed_s = time.monotonic() - started
    sending.cancel()
    writer.close()
    return Conversation(received, answered_s, closed_s)


def a_byte_a_second(sent: bytes) -> list[Step]:
    """For as long as the server waits: what comes after it has closed would have the
    kernel throw away an answer that this busy process has not read yet.
    """
    return [step for byte in sent[:5] for step in (1.0, bytes([byte]))]


def at_10_kb_a_second(body: bytes) -> list[Step]:
    steps: list[Step] = [closing(page(body))[: -len(body)]]
    for start in range(0, len(body), 5000):
        steps += [0.5, body[start : start + 5000]]
    return steps


# 408 after five seconds, then closed; the statuses of all responses on the connection.
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
# Closed after 15 seconds without a response; the statuses before.
IDLE: dict[str, tuple[list[Step], list[int]]] = {
    "slow-head: nothing is sent": ([], []),
    "slow-head: nothing more is sent": ([page()], [200]),
    "slow-head: nothing more than half a head that came with the request before": ([page() + page()[:30]], [200]),
}


@pytest.fixture(scope="module", autouse=True)
def conversations(worker: Worker) -> Iterator[Future[dict[str, Conversation]]]:
    """Every conversation, once the slowest has ended."""
    clients = {name: steps for name, (steps, _) in (TOO_SLOW | IDLE).items()} | SLOW_ENOUGH

    async def converse_all() -> dict[str, Conversation]:
        found = await asyncio.gather(*[converse(worker.port, steps) for steps in clients.values()])
        return dict(zip(clients, found, strict=True))

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(asyncio.run, converse_all())


@pytest.mark.parametrize("name", TOO_SLOW)
def test_slow_client_gets_408_and_is_closed(conversations: Future[dict[str, Conversation]], name: str) -> None:
    found = conversations.result(2 * TIMEOUT_S)[name]
    assert found.statuses == TOO_SLOW[name][1]
    assert found.code == "slow"
    assert found.answered_s > SLOW_S - 0.2
    assert found.closed_s is not None


@pytest.mark.parametrize("name", SLOW_ENOUGH)
def test_client_within_the_timeout_is_served(conversations: Future[dict[str, Conversation]], name: str) -> None:
    assert set(conversations.result(2 * TIMEOUT_S)[name].statuses) == {200}


@pytest.mark.parametrize("name", IDLE)
def test_idle_connection_is_closed_without_a_response(
    conversations: Future[dict[str, Conversation]], name: str
) -> None:
    found = conversations.result(2 * TIMEOUT_S)[name]
    assert found.statuses == IDLE[name][1]
    assert found.closed_s is not None
    assert found.closed_s > IDLE_S - 0.2


@pytest.mark.parametrize("name", ["slow-body: body stalls", "slow-head: head stalls"])
def test_slow_client_gets_a_problem(conversations: Future[dict[str, Conversation]], name: str) -> None:
    assert_problem(conversations.result(2 * TIMEOUT_S)[name].received)
