"""A body reserves budget while it arrives, and releases all of it however it ends; a
slow one is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.http import body_reader
from ingest.http.body_reader import BODY_MIN_RATE, BodyBudget, read_body
from ingest.http.connection import Server
from ingest.http.problem import Problem
from shared.worker_stats import WorkerStats

BODY_MAX = 40_000
ALL = 100_000
# Instead of the five seconds in production.
TIMEOUT_S = 0.4


def is_unused(budget: BodyBudget) -> bool:
    """Whether nothing is reserved."""
    try:
        budget.reserve(ALL)
    except Problem:
        return False
    budget.release(ALL)
    return True


@dataclass
class Receiver:
    """A real server that reads bodies, and how each ended."""

    port: int = 0
    budget: BodyBudget = field(default_factory=lambda: BodyBudget(ALL))
    ended: list[str] = field(default_factory=list)

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        try:
            content = await read_body(request, BODY_MAX, self.budget)
        except Problem as problem:
            self.ended.append(problem.code)
            return problem.response()
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("ok")
        return web.Response(text=str(len(content)))

    async def until(self, *, unused: bool) -> None:
        """Wait until the budget is unused, or in use."""
        async with asyncio.timeout(60):
            while is_unused(self.budget) != unused:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def until_ended(self) -> None:
        """Wait until a body has ended."""
        async with asyncio.timeout(60):
            while not self.ended:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setattr(body_reader, "BODY_TIMEOUT_S", TIMEOUT_S)
    made = Receiver()
    runner = web.ServerRunner(Server(made.handle, 100, 15.0, WorkerStats()), shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@asynccontextmanager
async def connected(receiver: Receiver) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next response."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def head(framing: str) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode()


def sized(size: int) -> bytes:
    return head(f"Content-Length: {size}")


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


CHUNKED = head("Transfer-Encoding: chunked")
PAUSE = b""

# The pieces sent (an empty one: a pause longer than the timeout), the status and the
# code.
BODIES: dict[str, tuple[list[bytes], int, str]] = {
    "together with its head": ([sized(5) + b"12345"], 200, "ok"),
    "after its head": ([sized(5), b"12345"], 200, "ok"),
    "byte by byte": ([sized(5), *[b"%d" % n for n in range(5)]], 200, "ok"),
    "of the maximum size": ([sized(BODY_MAX), bytes(BODY_MAX // 2), bytes(BODY_MAX // 2)], 200, "ok"),
    "in chunks": ([CHUNKED, chunk(b"123"), chunk(b"45"), chunk(b"")], 200, "ok"),
    "in chunks, of the maximum size": ([CHUNKED, chunk(bytes(BODY_MAX)), chunk(b"")], 200, "ok"),
    "none": ([head("X-Nothing: 1")], 400, "malformed"),
    "empty": ([sized(0)], 400, "malformed"),
    "too long": ([sized(BODY_MAX + 1), bytes(BODY_MAX), b"1"], 413, "too_large"),
    "too long at once": ([sized(BODY_MAX + 1) + bytes(BODY_MAX + 1)], 413, "too_large"),
    "too long in chunks without an end": ([CHUNKED, *[chunk(bytes(9_000))] * 5], 413, "too_large"),
    "a malformed chunk": ([CHUNKED, chunk(b"123"), b"x\r\n"], 400, "malformed"),
    "silent after its head": ([sized(5), PAUSE], 408, "slow"),
    "silent after its first byte": ([sized(5), b"1", PAUSE], 408, "slow"),
    "silent before its last chunk": ([CHUNKED, chunk(b"12345"), PAUSE], 408, "slow"),
}


@pytest.mark.parametrize(("pieces", "status", "code"), BODIES.values(), ids=BODIES)
async def test_budget_is_unused_after_a_body(receiver: Receiver, pieces: list[bytes], status: int, code: str) -> None:
    async with connected(receiver) as (reader, writer):
        for piece in pieces:
            with suppress(ConnectionError):  # a rejection may arrive before everything is sent
                writer.write(piece)
                await writer.drain()
            await asyncio.sleep(0.01 if piece else TIMEOUT_S + 0.1)
        async with asyncio.timeout(60):
            found, _ = await response(reader)
    assert (found, receiver.ended) == (status, [code])
    await receiver.until(unused=True)


# What was sent before the client disconnected.
CUT_OFF = {
    "after the head": [sized(30_000)],
    "within the body": [sized(30_000), bytes(20_000)],
    "within a chunk": [CHUNKED, chunk(bytes(20_000)) + b"ff\r\n1"],
}


@pytest.mark.parametrize("pieces", CUT_OFF.values(), ids=CUT_OFF)
@pytest.mark.parametrize("how", ["closed", "aborted"])
async def test_disconnect_releases_the_budget(receiver: Receiver, pieces: list[bytes], how: str) -> None:
    async with connected(receiver) as (_, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        if len(pieces) > 1:
            assert not is_unused(receiver.budget)
        if how == "aborted":
            writer.transport.abort()
    await receiver.until_ended()
    assert receiver.ended != ["ok"]
    assert is_unused(receiver.budget)


async def test_bodies_that_exceed_the_budget_together_are_rejected(receiver: Receiver) -> None:
    async with connected(receiver) as one, connected(receiver) as two, connected(receiver) as three:
        for _, writer in (one, two):
            writer.write(sized(BODY_MAX) + bytes(BODY_MAX - 1))
        await receiver.until(unused=False)
        await asyncio.sleep(0.05)
        three[1].write(sized(BODY_MAX))
        await three[1].drain()
        await asyncio.sleep(0.02)
        three[1].write(bytes(30_000))
        assert (await response(three[0]))[0] == 503
        for reader, writer in (one, two):
            writer.write(b"1")
            assert await response(reader) == (200, str(BODY_MAX).encode())
    assert sorted(receiver.ended) == ["busy", "ok", "ok"]
    await receiver.until(unused=True)


async def test_received_bytes_extend_the_deadline(receiver: Receiver) -> None:
    """Enough for a phone on a bad line, not for a byte now and then."""
    async with connected(receiver) as (reader, writer):
        writer.write(sized(2 * BODY_MIN_RATE))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(bytes(BODY_MIN_RATE))
        await asyncio.sleep(TIMEOUT_S + 0.3)
        writer.write(bytes(BODY_MIN_RATE))
        assert (await response(reader))[0] == 200

    async with connected(receiver) as (reader, writer):
        writer.write(sized(1_000))
        with drip(writer):
            async with asyncio.timeout(TIMEOUT_S + 1):
                assert (await response(reader))[0] == 408
    await receiver.until(unused=True)


@contextmanager
def drip(writer: asyncio.StreamWriter) -> Iterator[None]:
    """A byte every 50 ms."""

    async def dripping() -> None:
        while True:
            writer.write(b"1")
            await asyncio.sleep(0.05)

    task = asyncio.create_task(dripping())
    try:
        yield
    finally:
        task.cancel()


# The budget, what is reserved one after the other, and whether the last fits.
BUDGETS = {
    "all of it": (10, [10], True),
    "a byte too many": (10, [11], False),
    "what is left": (10, [4, 6], True),
    "more than is left": (10, [4, 7], False),
    "nothing of nothing": (0, [0], True),
}


@pytest.mark.parametrize(("size", "sizes", "fits"), BUDGETS.values(), ids=BUDGETS)
def test_budget_is_what_was_set(size: int, sizes: list[int], fits: bool) -> None:
    budget = BodyBudget(size)
    *first, last = sizes
    for each in first:
        budget.reserve(each)
    if fits:
        budget.reserve(last)
        return
    with pytest.raises(Problem) as caught:
        budget.reserve(last)
    assert (caught.value.status, caught.value.code, caught.value.close) == (503, "busy", True)
    budget.reserve(size - sum(first))  # the failed reservation took nothing
