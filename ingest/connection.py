"""The bounds of a connection: how many there may be, and how long each may take over the head of a request.

aiohttp waits for ever for the rest of a head, takes any number of connections, and answers broken HTTP with the client's
address in the log and its input in the answer. Bodies have their own limit of time (read_body in collect.py).
"""

from __future__ import annotations

import asyncio
import resource
import time
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from ingest.meters import NO_ROUTE, Meters
from ingest.refusal import Refusal
from shared.settings import Settings

HEAD_TIMEOUT_S = 5.0
KEEPALIVE_S = 15.0
# After an answer to a body that was not read: long enough for the client to see the answer, not for a slow one to stay.
LINGER_S = 2.0
# What a worker needs beside its connections: segments, the reading process, sockets of its peers.
OTHER_DESCRIPTORS = 128

_NO_ROOM = Refusal(503, "connections", "more connections are open than may be", retry_after_s=5)
_SLOW_HEAD = Refusal(408, "slow", f"the head of a request has {HEAD_TIMEOUT_S:g} seconds to arrive")
_BROKEN = Refusal(400, "http", "this is not HTTP as it should be", close=True)
_LONG_LINE = Refusal(400, "http", "the URL or a header is longer than 8190 bytes", close=True)


class Connection(RequestHandler):
    """One connection. `head_since` is when the head that is arriving began, 0 when none is."""

    __slots__ = ("head_since",)

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self.head_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._server.is_full():
            self.say_and_close(_NO_ROOM)

    def say_and_close(self, refusal: Refusal) -> None:
        """Answer what never became a request."""
        self._server.refused(refusal)
        if self.transport is not None:
            self.transport.write(refusal.last_words())
        self.force_close()

    @property
    def _server(self) -> Server:
        return cast(Server, self._manager)

    def data_received(self, data: bytes) -> None:
        RequestHandler.data_received(self, data)  # not super(): this is the path of every request
        waiter = self._waiter  # of whoever waits for the next head: nobody while a request is handled, or just after connecting
        if self._request_count and (waiter is None or waiter.done()):
            self.head_since = 0.0  # a whole head is here, or a body that belongs to one
        elif not self.head_since:
            self.head_since = time.monotonic()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer broken HTTP with a problem."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        refusal = _LONG_LINE if isinstance(exc, LineTooLong) else _BROKEN
        self._server.refused(refusal)
        response = refusal.response()
        response.headers["Server"] = "Foldlog"
        return response


class Server(web.Server):
    """aiohttp's server with bounded connections."""

    def __init__(self, handler: Any, max_connections: int, meters: Meters) -> None:
        super().__init__(
            handler, access_log=None, auto_decompress=False, keepalive_timeout=KEEPALIVE_S, lingering_time=LINGER_S
        )
        self._max_connections = max_connections
        self._meters = meters

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def is_full(self) -> bool:
        """Whether there are more connections than may be."""
        return len(self._connections) > self._max_connections

    def refused(self, refusal: Refusal) -> None:
        """Count what no handler sees."""
        self._meters.answered(NO_ROUTE, refusal.status, refusal.code)

    def sweep(self) -> None:
        """Close every connection whose head has been arriving for too long. Call it every second or so."""
        late = time.monotonic() - HEAD_TIMEOUT_S
        for connection in cast(list[Connection], self.connections):
            # One that was lost stays in the list until its task has ended.
            if connection.transport is not None and 0 < connection.head_since < late:
                connection.say_and_close(_SLOW_HEAD)


def room_for_connections(settings: Settings) -> int:
    """How many connections there may be: as many as are set, if the system gives this process descriptors for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_DESCRIPTORS
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(settings.max_connections, max(16, soft - OTHER_DESCRIPTORS))
