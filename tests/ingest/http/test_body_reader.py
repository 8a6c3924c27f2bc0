"""A body takes room while it arrives and gives all of it back, however it ends; a slow
one does not stay.
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
# Instead of the five seconds of service: no test waits for those.
TIMEOUT_S = 0.4


def is_whole(budget: BodyBudget) -> bool:
    """Whether nothing of the room is taken."""
    try:
        budget.reserve(ALL)
    except Problem:
        return False
    budget.release(ALL)
    return True


@dataclass
class Receiver:
    """A real server that reads bodies, and what it knows of them."""

    port: int = 0
    budget: BodyBudget = field(default_factory=lambda: BodyBudget(ALL))
    ended: list[str] = field(default_factory=list)

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        try:
            content = await read_body(request, BODY_MAX, self.budget)
        except Problem as refusal:
            self.ended.append(refusal.code)
            return refusal.response()
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("ok")
        return web.Response(text=str(len(content)))

    async def until(self, *, whole: bool) -> None:
        """Wait until all room is free, or until some is taken."""
        async with asyncio.timeout(60):
            while is_whole(self.budget) != whole:  # noqa: ASYNC110  what is waited for knows nothing of being waited for
                await asyncio.sleep(0.005)

    async def until_ended(self) -> None:
        """Wait until a body was read, or not."""
        async with asyncio.timeout(60):
            while not self.ended:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setattr(body_reader, "BODY_TIMEOUT_S", TIMEOUT_S)
    made = Receiver()
    runner = web.ServerRunner(Server(made.handle, 100, WorkerStats()), shutdown_timeout=0.05)
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


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
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

# What is sent, piece by piece (an empty piece: a pause that is longer than the time for
# a body), and what comes of it.
BODIES: dict[str, tuple[list[bytes], int, str]] = {
    "together with its head": ([sized(5) + b"12345"], 200, "ok"),
    "after its head": ([sized(5), b"12345"], 200, "ok"),
    "byte by byte": ([sized(5), *[b"%d" % n for n in range(5)]], 200, "ok"),
    "as long as may be": ([sized(BODY_MAX), bytes(BODY_MAX // 2), bytes(BODY_MAX // 2)], 200, "ok"),
    "in chunks": ([CHUNKED, chunk(b"123"), chunk(b"45"), chunk(b"")], 200, "ok"),
    "in chunks, as long as may be": ([CHUNKED, chunk(bytes(BODY_MAX)), chunk(b"")], 200, "ok"),
    "none": ([head("X-Nothing: 1")], 400, "malformed"),
    "empty": ([sized(0)], 400, "malformed"),
    "too long": ([sized(BODY_MAX + 1), bytes(BODY_MAX), b"1"], 413, "too_large"),
    "too long at once": ([sized(BODY_MAX + 1) + bytes(BODY_MAX + 1)], 413, "too_large"),
    "too long in chunks without an end": ([CHUNKED, *[chunk(bytes(9_000))] * 5], 413, "too_large"),
    "a broken chunk": ([CHUNKED, chunk(b"123"), b"x\r\n"], 400, "malformed"),
    "silent after its head": ([sized(5), PAUSE], 408, "slow"),
    "silent after its first byte": ([sized(5), b"1", PAUSE], 408, "slow"),
    "silent before its last chunk": ([CHUNKED, chunk(b"12345"), PAUSE], 408, "slow"),
}


@pytest.mark.parametrize(("pieces", "status", "code"), BODIES.values(), ids=BODIES)
async def test_body_ends_with_all_room_free(receiver: Receiver, pieces: list[bytes], status: int, code: str) -> None:
    async with connected(receiver) as (reader, writer):
        for piece in pieces:
            with suppress(ConnectionError):  # a refusal may come before all was sent
                writer.write(piece)
                await writer.drain()
            await asyncio.sleep(0.01 if piece else TIMEOUT_S + 0.1)
        async with asyncio.timeout(60):
            found, _ = await answer(reader)
    assert (found, receiver.ended) == (status, [code])
    await receiver.until(whole=True)


# What was sent before the connection went.
CUT_OFF = {
    "after the head": [sized(30_000)],
    "within the body": [sized(30_000), bytes(20_000)],
    "within a chunk": [CHUNKED, chunk(bytes(20_000)) + b"ff\r\n1"],
}


@pytest.mark.parametrize("pieces", CUT_OFF.values(), ids=CUT_OFF)
@pytest.mark.parametrize("how", ["closed", "aborted"])
async def test_client_that_goes_away_gives_its_room_back(receiver: Receiver, pieces: list[bytes], how: str) -> None:
    async with connected(receiver) as (_, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        if len(pieces) > 1:
            assert not is_whole(receiver.budget)
        if how == "aborted":
            writer.transport.abort()
    await receiver.until_ended()
    assert receiver.ended != ["ok"]
    assert is_whole(receiver.budget)


async def test_many_bodies_that_are_small_enough_are_refused_when_they_are_too_much_together(
    receiver: Receiver,
) -> None:
    async with connected(receiver) as one, connected(receiver) as two, connected(receiver) as three:
        for _, writer in (one, two):
            writer.write(sized(BODY_MAX) + bytes(BODY_MAX - 1))
        await receiver.until(whole=False)
        await asyncio.sleep(0.05)
        three[1].write(sized(BODY_MAX))
        await three[1].drain()
        await asyncio.sleep(0.02)
        three[1].write(bytes(30_000))
        assert (await answer(three[0]))[0] == 503
        for reader, writer in (one, two):
            writer.write(b"1")
            assert await answer(reader) == (200, str(BODY_MAX).encode())
    assert sorted(receiver.ended) == ["busy", "ok", "ok"]
    await receiver.until(whole=True)


async def test_body_earns_time_by_what_it_brings(receiver: Receiver) -> None:
    """A phone on a bad line is done in time; a byte now and then is not."""
    async with connected(receiver) as (reader, writer):
        writer.write(sized(2 * BODY_MIN_RATE))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(bytes(BODY_MIN_RATE))
        await asyncio.sleep(TIMEOUT_S + 0.3)
        writer.write(bytes(BODY_MIN_RATE))
        assert (await answer(reader))[0] == 200

    async with connected(receiver) as (reader, writer):
        writer.write(sized(1_000))
        with drip(writer):
            async with asyncio.timeout(TIMEOUT_S + 1):
                assert (await answer(reader))[0] == 408
    await receiver.until(whole=True)


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


# Room, what is taken of it one after the other, and whether the last still fits.
ROOM = {
    "all of it": (10, [10], True),
    "a byte too many": (10, [11], False),
    "what is left": (10, [4, 6], True),
    "more than is left": (10, [4, 7], False),
    "nothing of nothing": (0, [0], True),
}


@pytest.mark.parametrize(("room", "sizes", "fits"), ROOM.values(), ids=ROOM)
def test_room_is_what_was_set(room: int, sizes: list[int], fits: bool) -> None:
    budget = BodyBudget(room)
    *first, last = sizes
    for size in first:
        budget.reserve(size)
    if fits:
        budget.reserve(last)
        return
    with pytest.raises(Problem) as refused:
        budget.reserve(last)
    assert (refused.value.status, refused.value.code, refused.value.close) == (503, "busy", True)
    budget.reserve(room - sum(first))  # what did not fit has taken nothing
