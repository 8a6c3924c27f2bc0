"""A POST that is there as a whole is handled where it arrives; answers keep their order, and a connection its rules."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.connection import KEEPALIVE_S, Connection, Server
from ingest.meters import Meters

PATIENCE_S = 5.0
BODY = b'{"events":[]}'
POST = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
GET = b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n"


class Held:
    """A server whose POST handler waits until it is let go; it notes what began, and in which way."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.at_once: list[bool] = []
        self.let_go = asyncio.Event()
        self.server = Server(self.handle, 10, Meters())
        self.port = 0
        self.clients: list[asyncio.StreamWriter] = []

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        self.began.append(f"{request.method} {request.raw_path}")
        self.at_once.append(request.protocol._busy)  # type: ignore[attr-defined]
        number = len(self.began)
        if request.method == "POST" and not self.let_go.is_set():
            # A future of its own, as the writer's: Event.wait makes one.
            await self.let_go.wait()
        if request.headers.get("X-Fail"):
            raise RuntimeError("a defect")
        return web.Response(text=f"answer {number}")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(writer)
        return reader, writer

    @property
    def connection(self) -> Connection:
        (found,) = self.server.connections
        assert isinstance(found, Connection)
        return found


@asynccontextmanager
async def held() -> AsyncIterator[Held]:
    here = Held()
    runner = web.ServerRunner(here.server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    here.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        yield here
    finally:
        here.let_go.set()
        for client in here.clients:
            client.close()
        await runner.cleanup()


async def moment() -> None:
    await asyncio.sleep(0.05)


async def read_answers(reader: asyncio.StreamReader, count: int) -> list[str]:
    answers = []
    for _ in range(count):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        answers.append((await reader.readexactly(length)).decode())
    return answers


async def test_whole_post_is_handled_at_once_and_others_are_not() -> None:
    async with held() as here:
        here.let_go.set()
        reader, writer = await here.connect()
        await moment()
        writer.write(POST)
        assert await read_answers(reader, 1) == ["answer 1"]
        writer.write(GET)
        assert await read_answers(reader, 1) == ["answer 2"]
        writer.write(POST[:-3])  # the rest of its body comes later
        await moment()
        writer.write(POST[-3:])
        assert await read_answers(reader, 1) == ["answer 3"]
        writer.write(POST)
        assert await read_answers(reader, 1) == ["answer 4"]
        assert here.at_once == [True, False, False, True]


@pytest.mark.parametrize(
    "pieces", [[POST + GET + POST], [POST, GET + POST], [POST, GET, POST], [POST + GET[:9], GET[9:], POST]]
)
async def test_answers_come_in_the_order_of_the_requests(pieces: list[bytes]) -> None:
    async with held() as here:
        reader, writer = await here.connect()
        await moment()
        for piece in pieces:
            writer.write(piece)
            await moment()
        assert here.began == ["POST /v1/events"], "what comes after waits for its turn"
        here.let_go.set()
        assert await read_answers(reader, 3) == ["answer 1", "answer 2", "answer 3"]
        assert here.began == ["POST /v1/events", "GET /last", "POST /v1/events"]


async def test_client_that_will_send_no_more_is_answered_and_the_connection_closed() -> None:
    async with held() as here:
        reader, writer = await here.connect()
        await moment()
        writer.write(POST)
        await moment()
        writer.write_eof()
        await moment()
        here.let_go.set()
        assert await read_answers(reader, 1) == ["answer 1"]
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_client_that_asks_for_it_finds_the_connection_closed() -> None:
    async with held() as here:
        here.let_go.set()
        reader, writer = await here.connect()
        await moment()
        writer.write(POST.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        assert await read_answers(reader, 1) == ["answer 1"]
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_waiting_for_the_disk_is_not_idling() -> None:
    """The time after which an idle connection is closed may pass while its request waits."""
    async with held() as here:
        reader, writer = await here.connect()
        await moment()
        writer.write(POST)
        await moment()
        connection = here.connection
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        connection.check(asyncio.get_running_loop().time())
        assert connection.transport is not None
        here.let_go.set()
        assert await read_answers(reader, 1) == ["answer 1"]
        # From the answer on it counts anew.
        assert connection._keepalive_handle is not None
        left = connection._next_keepalive_close_time - asyncio.get_running_loop().time()
        assert KEEPALIVE_S - 1 < left <= KEEPALIVE_S
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_client_that_went_away_leaves_nothing_behind() -> None:
    async with held() as here:
        _, writer = await here.connect()
        await moment()
        writer.write(POST)
        await moment()
        writer.transport.abort()
        await moment()
        here.let_go.set()
        await moment()
        assert here.server.connections == []


async def test_shutdown_waits_for_what_is_being_handled() -> None:
    async with held() as here:
        reader, writer = await here.connect()
        await moment()
        writer.write(POST)
        await moment()
        asyncio.get_running_loop().call_later(0.2, here.let_go.set)
        await here.server.shutdown(PATIENCE_S)
        assert await read_answers(reader, 1) == ["answer 1"]


async def test_defect_is_answered_and_the_next_request_served() -> None:
    async with held() as here:
        here.let_go.set()
        reader, writer = await here.connect()
        await moment()
        writer.write(POST.replace(b"Host: x", b"Host: x\r\nX-Fail: 1"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert head.startswith(b"HTTP/1.1 400")  # what Connection.handle_error says; dispatch makes it a 500 before


async def test_requests_leave_nothing_to_the_collector() -> None:
    """A circle a request would cost more than handling it at once saves."""
    async with held() as here:
        here.let_go.set()
        reader, writer = await here.connect()
        await moment()
        gc.collect()
        gc.disable()
        try:
            for number in range(20):
                here.let_go.clear()
                writer.write(POST)
                await asyncio.sleep(0.01)
                here.let_go.set()
                assert await read_answers(reader, 1) == [f"answer {number + 1}"]
            assert here.at_once == [True] * 20
            assert gc.collect() < 20
        finally:
            gc.enable()
