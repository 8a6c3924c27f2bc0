"""Bounds of a connection, on a server in this process: how many are open, and which are
closed for being slow.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, cast

import aiohttp
import pytest
from aiohttp import web, web_protocol
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from ingest.http.connection import HEAD_TIMEOUT_S, Connection, Server
from shared.worker_stats import WorkerStats
from tests.builders.waiting import TIMEOUT_S

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_A_HEAD = REQUEST[:-4]
HELLO = b"HTTP/1.1 200 OK\r\n"
TIMEOUT_PASSED_S = HEAD_TIMEOUT_S + 1
A_MOMENT_S = 0.05

ROOT = Path(__file__).parents[3]
# Private attributes of aiohttp that connection.py uses, by their owner.
PRIVATE = {
    "RequestHandler": ("_close", "_current_request", "_manager", "_messages", "_request_count", "_waiter"),
    "Server": ("_connections", "_kwargs", "_loop"),
    "web_protocol": ("_ErrInfo",),
}


async def hello(request: BaseRequest) -> web.StreamResponse:
    if request.path == "/slow":
        await asyncio.sleep(4 * A_MOMENT_S)
    return web.Response(text="hello")


class Client(NamedTuple):
    """The client's side of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, sent: bytes) -> None:
        """Send, and give the server time to read."""
        self.writer.write(sent)
        await asyncio.sleep(A_MOMENT_S)

    async def close(self) -> None:
        self.writer.close()
        await asyncio.sleep(A_MOMENT_S)

    async def first_line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), TIMEOUT_S)

    async def only_response(self) -> tuple[int, str, bytes]:
        """Status, code and head of the only response before the connection was
        closed.
        """
        received = await asyncio.wait_for(self.reader.read(), TIMEOUT_S)
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["code"], head

    async def is_open_and_silent(self) -> bool:
        """Whether the server sent nothing and left the connection open."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.2)
        except TimeoutError:
            return True
        return False


class Running:
    """A running server, its stats, and its clients."""

    def __init__(self, max_connections: int) -> None:
        self.stats = WorkerStats()
        self.server = Server(hello, max_connections, 15.0, self.stats)
        self.port = 0
        self.clients: list[Client] = []

    @property
    def connections(self) -> list[Connection]:
        return cast(list[Connection], self.server.connections)

    async def connect(self, sent: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        await client.send(sent)
        return client

    def age_heads(self) -> None:
        """Let every incomplete head have begun before the timeout."""
        for connection in self.connections:
            if connection.head_since:
                connection.head_since -= TIMEOUT_PASSED_S


@asynccontextmanager
async def serving(max_connections: int = 100) -> AsyncIterator[Running]:
    running = Running(max_connections)
    runner = web.ServerRunner(running.server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    running.port = runner.addresses[0][1]
    try:
        yield running
    finally:
        for client in running.clients:
            client.writer.close()
        await runner.cleanup()


async def test_connection_beyond_the_limit_gets_503_and_is_closed() -> None:
    async with serving(2) as running:
        first, second = await running.connect(), await running.connect()
        status, code, head = await (await running.connect()).only_response()
        assert (status, code) == (503, "connections")
        assert b"\r\nConnection: close" in head
        assert re.search(rb"\r\nRetry-After: \d+", head)
        assert await first.is_open_and_silent()
        assert await second.is_open_and_silent()
        assert running.stats.requests == {"none 503 connections": 1}


async def test_closed_connection_makes_room() -> None:
    async with serving(1) as running:
        first = await running.connect(REQUEST)
        assert (await (await running.connect(REQUEST)).only_response())[:2] == (503, "connections")
        await first.close()
        assert await (await running.connect(REQUEST)).first_line() == HELLO


async def test_rejected_connections_take_no_room() -> None:
    async with serving(1) as running:
        first = await running.connect()
        for _ in range(10):
            assert (await (await running.connect()).only_response())[0] == 503
        await first.close()
        assert running.server.open_connections == 0
        assert await (await running.connect(REQUEST)).first_line() == HELLO


async def test_slow_head_gets_408_and_is_closed() -> None:
    async with serving() as running:
        slow = await running.connect(HALF_A_HEAD)
        running.age_heads()
        running.server.close_stalled()
        status, code, head = await slow.only_response()
        assert (status, code) == (408, "slow")
        assert b"\r\nConnection: close" in head
        assert running.stats.requests == {"none 408 slow": 1}


async def test_head_is_slow_however_often_a_byte_arrives() -> None:
    async with serving() as running:
        slow = await running.connect(b"G")
        running.age_heads()
        for byte in b"ET /":
            await slow.send(bytes([byte]))
        running.server.close_stalled()
        assert (await slow.only_response())[:2] == (408, "slow")


async def test_head_that_has_just_begun_is_open_and_silent() -> None:
    async with serving() as running:
        client = await running.connect(HALF_A_HEAD)
        running.server.close_stalled()
        assert await client.is_open_and_silent()
        await client.send(REQUEST[len(HALF_A_HEAD) :])
        assert await client.first_line() == HELLO


# What a client has sent: no head is incomplete.
COMPLETE = {
    "nothing": b"",
    "a whole request": REQUEST,
    "a head whose body is to come": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
}


@pytest.mark.parametrize("sent", COMPLETE.values(), ids=COMPLETE)
async def test_connection_without_an_incomplete_head_is_not_closed(sent: bytes) -> None:
    async with serving() as running:
        client = await running.connect(sent)
        assert [connection.head_since for connection in running.connections] == [0.0]
        running.age_heads()
        running.server.close_stalled()
        assert await client.first_line() == HELLO if sent else await client.is_open_and_silent()


async def test_completed_head_is_no_longer_timed() -> None:
    async with serving() as running:
        client = await running.connect(HALF_A_HEAD)
        await client.send(REQUEST[len(HALF_A_HEAD) :])
        assert [connection.head_since for connection in running.connections] == [0.0]
        assert await client.first_line() == HELLO


# What a client has sent of its next request: the connection is not idle.
BEGUN = {
    "a part of a head": HALF_A_HEAD,
    "a part of a head before the response": b"GET /slow" + REQUEST[5:],
}


@pytest.mark.parametrize("sent", BEGUN.values(), ids=BEGUN)
async def test_connection_with_part_of_a_request_is_not_idle(sent: bytes) -> None:
    async with serving() as running:
        client = await running.connect(sent)
        if sent != HALF_A_HEAD:
            await client.send(HALF_A_HEAD)
            assert await client.first_line() == HELLO
            await client.reader.readuntil(b"\r\n\r\nhello")
        running.server.close_idle()
        await client.send(REQUEST[len(HALF_A_HEAD) :])
        assert await client.first_line() == HELLO


@pytest.mark.parametrize("sent", [b"", REQUEST], ids=["nothing", "a whole request"])
async def test_idle_connection_is_closed(sent: bytes) -> None:
    async with serving() as running:
        client = await running.connect(sent)
        running.server.close_idle()
        said = await asyncio.wait_for(client.reader.read(), TIMEOUT_S)
        assert said.endswith(b"hello" if sent else b"")


async def test_connection_with_unread_bytes_is_not_idle() -> None:
    async with serving() as running:
        client = await running.connect(REQUEST)
        await client.reader.readuntil(b"\r\n\r\nhello")
        client.writer.write(REQUEST)
        assert running.connections[0].is_idle() is False  # the event loop has not turned since, so they are unread
        assert await client.first_line() == HELLO


async def test_lost_connection_is_not_answered_or_counted() -> None:
    async with serving() as running:
        await (await running.connect(HALF_A_HEAD)).close()
        running.age_heads()
        running.server.close_stalled()
        assert running.server.open_connections == 0
        assert running.stats.requests == {}


LIMITS = {"as set": (100, 100), "the minimum": (16, 16), "as many as descriptors allow": (1_000_000, 1024 - 128)}
LIMIT_CODE = """
import resource
from ingest.http.connection import connection_limit
from shared.settings import Settings
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024))
print(connection_limit(Settings(max_connections={wanted})))
"""


@pytest.mark.parametrize(("wanted", "expected"), LIMITS.values(), ids=LIMITS)
def test_connection_limit(wanted: int, expected: int) -> None:
    """In a process of its own, because a hard limit can only be lowered."""
    done = subprocess.run(
        [sys.executable, "-c", LIMIT_CODE.format(wanted=wanted)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == expected


async def test_aiohttp_has_every_private_attribute_in_use() -> None:
    owners = {"RequestHandler": RequestHandler, "Server": web.Server(hello), "web_protocol": web_protocol}
    gone = [f"{owner}.{name}" for owner, names in PRIVATE.items() for name in names if not hasattr(owners[owner], name)]
    assert gone == [], f"aiohttp {aiohttp.__version__} has removed them: adapt ingest/http/connection.py"


async def test_every_private_attribute_in_use_is_listed() -> None:
    tree = ast.parse((ROOT / "ingest/http/connection.py").read_text("utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    own = vars(Connection).keys() | (
        vars(Server(hello, 1, 15.0, WorkerStats())).keys() - vars(web.Server(hello)).keys()
    )
    private = {name for name in used if name.startswith("_") and not name.startswith("__")}
    assert private - own == {name for names in PRIVATE.values() for name in names}
