"""The handler of a baseline that counts: read, decode, count durably, answer. It is set
up as the null handler is.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from ingest.collect.event import Batch

DIMENSIONS = ("path", "name", "country")


class Counted(NamedTuple):
    """What is counted of an event: one more of the day's, of each dimension; and its
    visitor, once a day.
    """

    day: date
    path: str
    name: str
    country: str
    visitor: str


_BATCH = msgspec.json.Decoder(Batch)


def counted(body: bytes, language: str) -> Counted:
    """The one event of a body. Its country is what the language header says: looking an
    address up is no part of this.
    """
    (event,) = _BATCH.decode(body).events
    path = urlsplit(event.url or "").path
    return Counted(datetime.now(UTC).date(), path, event.name, language[3:5], event.visitor or "")


async def serve(port: int, count: Callable[[Counted], Awaitable[None]]) -> None:
    """Answer 200 to an event when `count` has made it durable, until SIGTERM."""

    async def post(request: web.Request) -> web.Response:
        await count(counted(await request.read(), request.headers.get("Accept-Language", "")))
        return web.Response(body=b'{"accepted":1,"rejected":[]}', content_type="application/json")

    async def get_health(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(client_max_size=1 << 20)
    app.router.add_post("/v1/events", post)
    app.router.add_get("/healthz", get_health)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await runner.cleanup()
