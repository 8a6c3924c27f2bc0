"""The bounds of a connection: how many there may be, and what each may take of time and
memory before it is a request.

aiohttp waits for ever for the rest of a head, and for an answer to be taken; it keeps a
megabyte of head, takes any number of connections, and answers broken HTTP with the
client's address in the log and its input in the answer. Bodies have limits of their own
(receive.py).
"""

from __future__ import annotations

import asyncio
import fcntl
import resource
import termios
import time
from array import array
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from aiohttp.web_request import BaseRequest

from ingest.http.problem import Refusal
from shared.settings import OTHER_DESCRIPTORS, Settings
from shared.worker_stats import NO_ROUTE, WorkerStats

HEAD_TIMEOUT_S = 5.0
HEAD_MAX_BYTES = 32 << 10
ANSWER_TIMEOUT_S = 20.0
KEEPALIVE_S = 15.0
# After an answer to a body that was not read: long enough for the client to see the
# answer, not for a slow one to stay.
LINGER_S = 2.0
_NO_ROOM = Refusal(503, "connections", "more connections are open than may be", retry_after_s=5)
_SLOW_HEAD = Refusal(408, "slow", f"the head of a request has {HEAD_TIMEOUT_S:g} seconds to arrive")
_LONG_HEAD = Refusal(400, "http", f"the head of a request may have {HEAD_MAX_BYTES} bytes")
_BROKEN = Refusal(400, "http", "this is not HTTP as it should be", close=True)
_LONG_LINE = Refusal(400, "http", "the URL or a header is longer than 8190 bytes", close=True)


class Connection(RequestHandler):
    """One connection. `head_since` is when the head that is arriving began, 0 when none
    is; `unsent_since` likewise for what the client has not taken of an answer.
    """

    __slots__ = ("_early_head", "_head_bytes", "_input_ended", "_unsent", "head_since", "unsent_since")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self.head_since = 0.0
        self.unsent_since = 0.0
        self._head_bytes = 0
        self._unsent = 0
        self._input_ended = False
        self._early_head = False  # a part of the next head came before the answer was given

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
        count, is_body = self._request_count, self._is_reading_body()
        RequestHandler.data_received(self, data)  # not super(): this is the path of every request
        if not self._waits_for_head():
            self.head_since = 0.0
            self._early_head = self._request_count == count and not is_body and not self._messages
            if self._waiter is None and self._messages and self.is_broken():
                self._end_body()
            return
        if not self.head_since:
            self.head_since, self._head_bytes = time.monotonic(), 0
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_MAX_BYTES:
            self.say_and_close(_LONG_HEAD)

    def eof_received(self) -> bool:  # type: ignore[override]  # the transport looks at it: true keeps our half open
        """The client will send no more. What it has sent as a whole is still
        answered.
        """
        if self._waits_for_head() or self._is_reading_body():
            return False
        if self._messages:
            self._input_ended = True  # several are still to be answered
        else:
            self._close = True  # after the answer that is being made
        return True

    def is_broken(self) -> bool:
        """Whether something that is no HTTP has arrived behind the request that is
        being handled.
        """
        return any([isinstance(message, _ErrInfo) for message, _ in self._messages])

    @property
    def has_next(self) -> bool:
        """Whether another request has arrived behind the one that is being answered."""
        return bool(self._messages)

    def is_idle(self) -> bool:
        """Nothing has arrived of another request, not even what this process has not
        read yet.
        """
        transport = self.transport
        if (
            transport is None
            or transport.is_closing()
            or self.head_since
            or self._early_head
            or not self._waits_for_head()
        ):
            return False
        unread = array("i", [0])
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, unread)
        return not unread[0]

    def check(self, now: float) -> None:
        """Close the connection if it has been taking its time, or has nothing left to
        do.
        """
        if self.transport is None:  # it was lost, and stays in the list until its task has ended
            return
        if 0 < self.head_since < now - HEAD_TIMEOUT_S:
            self.say_and_close(_SLOW_HEAD)
        elif self._is_stuck(now):
            self.transport.abort()
        elif self._input_ended and self._waits_for_head():
            self.force_close()

    def _waits_for_head(self) -> bool:
        # Nobody waits while a request is handled, nor in the moment after connecting.
        waiter = self._waiter
        return not waiter.done() if waiter is not None else not self._request_count

    def _is_reading_body(self) -> bool:
        request = self._current_request
        return request is not None and not request.content.is_eof()

    def _end_body(self) -> None:
        # aiohttp puts the error behind the request whose chunk is broken, which would
        # wait for the rest until its time is up.
        if self._is_reading_body():
            cast(BaseRequest, self._current_request).content.feed_eof()

    def _is_stuck(self, now: float) -> bool:
        unsent = cast(asyncio.Transport, self.transport).get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self.unsent_since = unsent, now
        return unsent > 0 and self.unsent_since < now - ANSWER_TIMEOUT_S

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer broken HTTP with a problem."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        refusal = _LONG_LINE if isinstance(exc, LineTooLong) else _BROKEN
        self._server.refused(refusal)
        return refusal.response()


class Server(web.Server):
    """aiohttp's server with bounded connections."""

    def __init__(self, handler: Any, max_connections: int, meters: WorkerStats) -> None:
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

    def close_idle(self) -> None:
        """Close connections on which nothing arrives."""
        for connection in cast("list[Connection]", self.connections):
            if connection.is_idle():
                connection.force_close()

    def sweep(self, share: slice = slice(None)) -> None:
        """Close connections that have been taking their time, of this share of them.
        All should be looked at once a second.
        """
        now = time.monotonic()
        for connection in self.connections[share]:
            cast(Connection, connection).check(now)


def room_for_connections(settings: Settings) -> int:
    """How many connections there may be: as many as are set, if the system gives this
    process descriptors for them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_DESCRIPTORS
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(settings.max_connections, max(16, soft - OTHER_DESCRIPTORS))
