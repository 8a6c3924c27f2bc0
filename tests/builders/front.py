"""A small proxy in front of a server, in a thread of the tests: it passes requests on,
and answers some of those that carry events itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Container, Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, web

from tests.builders.waiting import TIMEOUT_S

# Given the number of a request with events, from 0; None passes the request on.
OwnAnswer = Callable[[int], Awaitable[web.Response | None]]


@contextmanager
def front(port: int, own_answer: OwnAnswer, lost: Container[int] = ()) -> Iterator[str]:
    """The URL of a proxy before the server at `port`, while the block runs. The answers
    to the requests with the numbers of `lost` never reach their client.
    """
    loop = asyncio.new_event_loop()
    started: list[str] = []
    ready, ended = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            runner = web.ServerRunner(web.Server(_passing_on(session, own_answer, lost)))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            started.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
            ready.set()
            await ended.wait()
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(TIMEOUT_S)
        yield started[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(TIMEOUT_S)
        loop.close()


def _passing_on(
    session: ClientSession, own_answer: OwnAnswer, lost: Container[int]
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    numbers = iter(range(1_000_000))

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        number = next(numbers) if request.path == "/v1/events" else -1
        if number >= 0 and (own := await own_answer(number)) is not None:
            return own
        headers = {name: value for name, value in request.headers.items() if name != "Content-Length"}
        async with session.request(request.method, request.rel_url, data=body, headers=headers) as answer:
            if number in lost and request.transport is not None:
                request.transport.abort()
            return web.Response(status=answer.status, body=await answer.read())

    return handle
