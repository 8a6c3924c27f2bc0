"""The bounds of a connection, on a server in this process: how many there may be, and
who is told to hurry.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.http.connection import HEAD_TIMEOUT_S, Connection, Server
from shared.worker_stats import WorkerStats
from tests.builders.waiting import TIMEOUT_S

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_A_HEAD = REQUEST[:-4]
HELLO = b"HTTP/1.1 200 OK\r\n"
LONG_AGO_S = HEAD_TIMEOUT_S + 1
A_MOMENT_S = 0.05


async def hello(request: BaseRequest) -> web.StreamResponse:
    if request.path == "/slow":
        await asyncio.sleep(4 * A_MOMENT_S)
    return web.Response(text="hello")


class Client(NamedTuple):
    """A connection, as the one who opened it sees it."""

    hears: asyncio.StreamReader
    says: asyncio.StreamWriter

    async def say(self, sent: bytes) -> None:
        """Send, and give the server time to notice."""
        self.says.write(sent)
        await asyncio.sleep(A_MOMENT_S)

    async def hang_up(self) -> None:
        self.says.close()
        await asyncio.sleep(A_MOMENT_S)

    async def first_line(self) -> bytes:
        return await asyncio.wait_for(self.hears.readline(), TIMEOUT_S)

    async def raw_response(self) -> tuple[int, str, bytes]:
        """Status, code and head of the only answer before the connection was closed."""
        said = await asyncio.wait_for(self.hears.read(), TIMEOUT_S)
        head, _, body = said.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["code"], head

    async def is_left_alone(self) -> bool:
        """Nothing was said, and the connection is still open."""
        try:
            await asyncio.wait_for(self.hears.read(1), 0.2)
        except TimeoutError:
            return True
        return False


class Here:
    """A server that runs, what it counts, and the clients that came to it."""

    def __init__(self, max_connections: int) -> None:
        self.stats = WorkerStats()
        self.server = Server(hello, max_connections, self.stats)
        self.port = 0
        self.clients: list[Client] = []

    @property
    def connections(self) -> list[Connection]:
        return cast(list[Connection], self.server.connections)

    async def connect(self, sent: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        await client.say(sent)
        return client

    def make_late(self) -> None:
        """Every head that is arriving now began long ago."""
        for connection in self.connections:
            if connection.head_since:
                connection.head_since -= LONG_AGO_S


@asynccontextmanager
async def serving(max_connections: int = 100) -> AsyncIterator[Here]:
    here = Here(max_connections)
    runner = web.ServerRunner(here.server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here.port = runner.addresses[0][1]
    try:
        yield here
    finally:
        for client in here.clients:
            client.says.close()
        await runner.cleanup()


async def test_connection_beyond_the_limit_is_told_so_and_closed() -> None:
    async with serving(2) as here:
        first, second = await here.connect(), await here.connect()
        status, code, head = await (await here.connect()).raw_response()
        assert (status, code) == (503, "connections")
        assert b"\r\nConnection: close" in head
        assert re.search(rb"\r\nRetry-After: \d+", head)
        assert await first.is_left_alone()
        assert await second.is_left_alone()
        assert here.stats.requests == {"none 503 connections": 1}


async def test_connection_that_is_closed_makes_room() -> None:
    async with serving(1) as here:
        first = await here.connect(REQUEST)
        assert (await (await here.connect(REQUEST)).raw_response())[:2] == (503, "connections")
        await first.hang_up()
        assert await (await here.connect(REQUEST)).first_line() == HELLO


async def test_those_that_were_turned_away_take_no_room() -> None:
    async with serving(1) as here:
        first = await here.connect()
        for _ in range(10):
            assert (await (await here.connect()).raw_response())[0] == 503
        await first.hang_up()
        assert here.server.open_connections == 0
        assert await (await here.connect(REQUEST)).first_line() == HELLO


async def test_head_that_arrives_for_too_long_is_told_so_and_closed() -> None:
    async with serving() as here:
        late = await here.connect(HALF_A_HEAD)
        here.make_late()
        here.server.close_stalled()
        status, code, head = await late.raw_response()
        assert (status, code) == (408, "slow")
        assert b"\r\nConnection: close" in head
        assert here.stats.requests == {"none 408 slow": 1}


async def test_head_is_late_however_often_a_byte_of_it_comes() -> None:
    async with serving() as here:
        late = await here.connect(b"G")
        here.make_late()
        for byte in b"ET /":
            await late.say(bytes([byte]))
        here.server.close_stalled()
        assert (await late.raw_response())[:2] == (408, "slow")


async def test_head_that_has_just_begun_is_left_alone() -> None:
    async with serving() as here:
        client = await here.connect(HALF_A_HEAD)
        here.server.close_stalled()
        assert await client.is_left_alone()
        await client.say(REQUEST[len(HALF_A_HEAD) :])
        assert await client.first_line() == HELLO


# What a client has sent: no head is arriving, so nothing is late.
PATIENT = {
    "nothing": b"",
    "a whole request": REQUEST,
    "a head whose body is to come": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
}


@pytest.mark.parametrize("sent", PATIENT.values(), ids=PATIENT)
async def test_sweep_leaves_a_connection_alone_that_sent(sent: bytes) -> None:
    async with serving() as here:
        client = await here.connect(sent)
        assert [connection.head_since for connection in here.connections] == [0.0]
        here.make_late()
        here.server.close_stalled()
        assert await client.first_line() == HELLO if sent else await client.is_left_alone()


async def test_head_that_came_to_its_end_is_not_late_afterwards() -> None:
    async with serving() as here:
        client = await here.connect(HALF_A_HEAD)
        await client.say(REQUEST[len(HALF_A_HEAD) :])
        assert [connection.head_since for connection in here.connections] == [0.0]
        assert await client.first_line() == HELLO


# What a client has sent of its next request: nothing may have it closed as idle.
BEGUN = {
    "a part of a head": HALF_A_HEAD,
    "a part of a head before it had its answer": b"GET /slow" + REQUEST[5:],
}


@pytest.mark.parametrize("sent", BEGUN.values(), ids=BEGUN)
async def test_connection_with_a_part_of_a_request_is_not_idle(sent: bytes) -> None:
    async with serving() as here:
        client = await here.connect(sent)
        if sent != HALF_A_HEAD:
            await client.say(HALF_A_HEAD)
            assert await client.first_line() == HELLO
            await client.hears.readuntil(b"\r\n\r\nhello")
        here.server.close_idle()
        await client.say(REQUEST[len(HALF_A_HEAD) :])
        assert await client.first_line() == HELLO


@pytest.mark.parametrize("sent", [b"", REQUEST], ids=["nothing", "a whole request"])
async def test_connection_is_idle_that_sent(sent: bytes) -> None:
    async with serving() as here:
        client = await here.connect(sent)
        here.server.close_idle()
        said = await asyncio.wait_for(client.hears.read(), TIMEOUT_S)
        assert said.endswith(b"hello" if sent else b"")


async def test_bytes_that_nobody_has_read_yet_are_no_silence() -> None:
    async with serving() as here:
        client = await here.connect(REQUEST)
        await client.hears.readuntil(b"\r\n\r\nhello")
        client.says.write(REQUEST)
        assert here.connections[0].is_idle() is False  # this loop, which reads for the server, has not turned since
        assert await client.first_line() == HELLO


async def test_sweep_says_nothing_to_a_late_connection_that_was_lost() -> None:
    async with serving() as here:
        await (await here.connect(HALF_A_HEAD)).hang_up()
        here.make_late()
        here.server.close_stalled()
        assert here.server.open_connections == 0
        assert here.stats.requests == {}


ROOM = {"as many as are set": (100, 100), "the least": (16, 16), "as many as the system gives": (1_000_000, 1024 - 128)}
ROOM_CODE = """
import resource
from ingest.http.connection import connection_limit
from shared.settings import Settings
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024))
print(connection_limit(Settings(max_connections={wanted})))
"""


@pytest.mark.parametrize(("wanted", "expected"), ROOM.values(), ids=ROOM)
def test_room_for_connections_is(wanted: int, expected: int) -> None:
    """In a process of its own: a limit of a process can only be lowered."""
    done = subprocess.run(
        [sys.executable, "-c", ROOM_CODE.format(wanted=wanted)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == expected
