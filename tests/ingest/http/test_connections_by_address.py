"""One address cannot take the connections of others; an office behind one address, and
a proxy, are not refused.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.http.connection import Server, connections_by_address
from ingest.http.connections_by_address import ConnectionsByAddress
from shared.settings import Settings
from shared.worker_stats import WorkerStats
from tests.builders.waiting import TIMEOUT_S

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_A_HEAD = REQUEST[:-4]
PROXY, MANY, OTHER = "127.0.5.1", "127.0.5.2", "127.0.5.3"
MOST = 4


class Fake:
    """A connection that is idle, or not."""

    def __init__(self, *, idle: bool) -> None:
        self.idle, self.is_closed = idle, False

    def is_idle(self) -> bool:
        return self.idle

    def force_close(self) -> None:
        self.is_closed = True


def test_idle_connection_makes_room_for_a_new_one_of_its_address() -> None:
    bound = ConnectionsByAddress(2, lambda _peer: False)
    busy, idle, new = Fake(idle=False), Fake(idle=True), Fake(idle=False)
    assert all(bound.add(each, MANY) for each in (busy, idle, new))
    assert [each.is_closed for each in (busy, idle, new)] == [False, True, False]
    assert not bound.add(Fake(idle=False), MANY)
    assert bound.add(Fake(idle=False), OTHER)


def test_closed_connection_leaves_nothing() -> None:
    bound = ConnectionsByAddress(2, lambda _peer: False)
    for peer in (MANY, "2001:db8::1", "::ffff:10.0.0.1", "not an address"):
        made = Fake(idle=False)
        bound.add(made, peer)
        bound.remove(made, peer)
    assert bound._open == {}


def test_networks_of_one_customer_are_bounded_together() -> None:
    bound = ConnectionsByAddress(2, lambda _peer: False)
    fits = 0
    for number in range(1 << 12):  # sixteen /56 of one /48
        made, peer = Fake(idle=False), f"2001:db8:1:{number:x}::1"
        if bound.add(made, peer):
            fits += 1
        else:
            bound.remove(made, peer)
    assert fits == 2 * 64
    assert bound.add(Fake(idle=False), "2001:db8:2::1")


def test_mapped_address_is_the_same_address() -> None:
    bound = ConnectionsByAddress(1, lambda _peer: False)
    assert bound.add(Fake(idle=False), "10.0.0.1")
    assert not bound.add(Fake(idle=False), "::ffff:10.0.0.1")


# The setting, what the server may open, and what an address may.
BOUNDS = {
    "the default": (256, 8192, 256),
    "few connections in all": (256, 64, 16),
    "very few": (256, 16, 8),
    "none": (0, 64, 0),
}


@pytest.mark.parametrize(("setting", "limit", "expected"), BOUNDS.values(), ids=BOUNDS)
def test_bound(setting: int, limit: int, expected: int) -> None:
    settings = Settings(max_connections_per_address=setting)
    bound = connections_by_address(settings, limit, lambda _peer: False)
    fits = [bound.add(Fake(idle=False), MANY) for _ in range(300)]
    assert fits.count(True) == (expected or 300)


async def hello(_request: BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


@asynccontextmanager
async def serving(max_connections: int = 100) -> AsyncIterator[int]:
    bound = ConnectionsByAddress(MOST, lambda peer: peer == PROXY)
    runner = web.ServerRunner(Server(hello, max_connections, 15.0, WorkerStats(), bound))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def connect(port: int, source: str, sent: bytes) -> socket.socket:
    loop = asyncio.get_running_loop()
    made = socket.socket()
    made.setblocking(False)
    made.bind((source, 0))
    await loop.sock_connect(made, ("127.0.0.1", port))
    await loop.sock_sendall(made, sent)
    return made


async def said(made: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(made, 65536), TIMEOUT_S)


async def test_address_with_slow_connections_takes_no_place_of_others() -> None:
    async with serving() as port:
        slow = [await connect(port, MANY, HALF_A_HEAD) for _ in range(MOST)]
        for made in slow:
            assert not await is_answered(made)
        refused = await connect(port, MANY, REQUEST)
        assert (await said(refused)).startswith(b"HTTP/1.1 503 ")
        other = await connect(port, OTHER, REQUEST)
        assert (await said(other)).startswith(b"HTTP/1.1 200 ")
        slow[0].close()
        await asyncio.sleep(0.1)
        again = await connect(port, MANY, REQUEST)
        assert (await said(again)).startswith(b"HTTP/1.1 200 ")
        for made in (*slow, refused, other, again):
            made.close()


async def test_office_with_more_idle_connections_than_the_bound_is_served() -> None:
    async with serving() as port:
        opened = []
        for _ in range(5 * MOST):
            opened.append(await connect(port, MANY, REQUEST))
            assert (await said(opened[-1])).startswith(b"HTTP/1.1 200 ")
        assert await said(opened[0]) == b""  # the longest idle one was closed
        for made in opened:
            made.close()


async def test_trusted_proxy_is_not_bounded() -> None:
    async with serving() as port:
        opened = [await connect(port, PROXY, HALF_A_HEAD) for _ in range(3 * MOST)]
        last = await connect(port, PROXY, REQUEST)
        assert (await said(last)).startswith(b"HTTP/1.1 200 ")
        for made in (*opened, last):
            made.close()


async def is_answered(made: socket.socket) -> bool:
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(made, 1), 0.05)
    except TimeoutError:
        return False
    return True
