"""Bounds of a connection: how many are open, and how much time and memory each may use
before its first request exists.

aiohttp sets no timeout on a request head or on a client that does not read its
response, buffers a head of up to a megabyte, accepts any number of connections, and
reports malformed HTTP with the client's address in the log and its input in the
response. Bodies have limits of their own (body_reader.py).

This module uses private attributes of aiohttp, so pyproject.toml pins its minor
version; tests/ingest/http/test_connection.py names each attribute.
"""

from __future__ import annotations

import asyncio
import fcntl
import resource
import termios
import time
from array import array
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from aiohttp.web_request import BaseRequest

from ingest.http.connections_by_address import UNBOUNDED, ConnectionsByAddress
from ingest.http.problem import Problem
from ingest.http.send_progress import SendProgress
from shared.settings import OTHER_DESCRIPTORS, Settings
from shared.worker_stats import NO_ROUTE, WorkerStats

HEAD_TIMEOUT_S = 5.0
HEAD_MAX_BYTES = 32 << 10
# How long a response to an unread body stays deliverable before the connection closes.
LINGER_S = 2.0
_TOO_MANY_CONNECTIONS = Problem(503, "connections", "too many open connections", retry_after_s=5)
_TOO_MANY_OF_ADDRESS = Problem(503, "connections", "too many open connections of this address", retry_after_s=5)
_SLOW_HEAD = Problem(408, "slow", f"the request head must arrive within {HEAD_TIMEOUT_S:g} seconds")
_LONG_HEAD = Problem(400, "http", f"the request head must not exceed {HEAD_MAX_BYTES} bytes")
_LONG_LINE = Problem(400, "http", "the URL or a header is longer than 8190 bytes", close=True)
_MALFORMED = Problem(400, "http", "malformed HTTP request", close=True)


class Connection(RequestHandler):
    """One connection.

    `head_since` is the monotonic time at which the incomplete head began to arrive, 0
    without one.
    """

    __slots__ = ("_early_head", "_head_bytes", "_input_ended", "_peer", "_progress", "has_left", "head_since")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self.head_since = 0.0
        self._head_bytes = 0
        self._progress = SendProgress()
        self._peer = ""
        self._input_ended = False
        self.has_left = False  # the client has closed its side; it may still read
        self._early_head = False  # part of the next head arrived before the response was sent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        self._peer = name[0] if isinstance(name, tuple) else ""  # no address: a socket of this host
        if not self._server.by_address.add(self, self._peer):
            self.respond_and_close(_TOO_MANY_OF_ADDRESS)
        elif self._server.is_full():
            self.respond_and_close(_TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.by_address.remove(self, self._peer)
        super().connection_lost(exc)

    def respond_and_close(self, problem: Problem) -> None:
        """Send a problem on a connection without a request, and close it."""
        self._server.record_problem(problem)
        if self.transport is not None:
            self.transport.write(problem.raw_response())
        self.force_close()

    @property
    def _server(self) -> Server:
        return cast(Server, self._manager)

    def data_received(self, data: bytes) -> None:
        count, is_body = self._request_count, self._is_reading_body()
        RequestHandler.data_received(self, data)  # cheaper than super(), on the path of every request
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
            self.respond_and_close(_LONG_HEAD)

    def eof_received(self) -> bool:  # type: ignore[override]  # True keeps the transport's write side open
        """The client sends no more. Complete requests are still answered."""
        self.has_left = True
        if self._waits_for_head() or self._is_reading_body():
            return False
        if self._messages:
            self._input_ended = True  # close after the last queued request
        else:
            self._close = True  # close after the current request
        return True

    def is_broken(self) -> bool:
        """Whether malformed HTTP follows the current request."""
        return any([isinstance(message, _ErrInfo) for message, _ in self._messages])

    @property
    def has_next(self) -> bool:
        """Whether another request is queued behind the current one."""
        return bool(self._messages)

    def is_idle(self) -> bool:
        """Whether no byte of another request has arrived, read or unread."""
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

    def close_if_stalled(self, now: float) -> None:
        """Close the connection when it exceeds a timeout or has nothing left to do.

        `now` is monotonic, in seconds.
        """
        if self.transport is None:  # lost, but listed until its task ends
            return
        if 0 < self.head_since < now - HEAD_TIMEOUT_S:
            self.respond_and_close(_SLOW_HEAD)
        elif self._progress.has_stalled(self.transport, now):
            self.transport.abort()
        elif self._input_ended and self._waits_for_head():
            self.force_close()

    def _waits_for_head(self) -> bool:
        # There is no waiter while a request is handled, nor right after connecting.
        waiter = self._waiter
        return not waiter.done() if waiter is not None else not self._request_count

    def _is_reading_body(self) -> bool:
        request = self._current_request
        return request is not None and not request.content.is_eof()

    def _end_body(self) -> None:
        # aiohttp queues the error behind the request with the malformed chunk, whose
        # handler would wait for its body until the timeout.
        if self._is_reading_body():
            cast(BaseRequest, self._current_request).content.feed_eof()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer malformed HTTP. Raises ConnectionError if a response has begun."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has already begun")
        problem = _LONG_LINE if isinstance(exc, LineTooLong) else _MALFORMED
        self._server.record_problem(problem)
        return problem.response()


class Server(web.Server):
    """aiohttp's server with bounded connections, in all and `by_address`."""

    def __init__(
        self,
        handler: Any,
        max_connections: int,
        keep_alive_s: float,
        stats: WorkerStats,
        by_address: ConnectionsByAddress = UNBOUNDED,
    ) -> None:
        super().__init__(
            handler, access_log=None, auto_decompress=False, keepalive_timeout=keep_alive_s, lingering_time=LINGER_S
        )
        self._max_connections = max_connections
        self._stats = stats
        self.by_address = by_address

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def is_full(self) -> bool:
        """Whether more connections are open than allowed."""
        return len(self._connections) > self._max_connections

    def record_problem(self, problem: Problem) -> None:
        """Count a problem that was sent outside of any route."""
        self._stats.record_response(NO_ROUTE, problem.status, problem.code)

    def close_idle(self) -> None:
        """Close connections on which no request is arriving."""
        for connection in cast("list[Connection]", self.connections):
            if connection.is_idle():
                connection.force_close()

    def cut_blocked(self) -> None:
        """Cut connections whose client has not taken what was sent: it could hold up
        the end of a worker for as long as it likes.
        """
        for connection in self.connections:
            if (transport := connection.transport) and transport.get_write_buffer_size():
                transport.abort()

    def close_stalled(self, share: slice = slice(None)) -> None:
        """Close the stalled connections of this share of all. Every connection needs a
        check once a second.
        """
        now = time.monotonic()
        for connection in self.connections[share]:
            cast(Connection, connection).close_if_stalled(now)


def client_has_left(request: BaseRequest) -> bool:
    """Whether the client of a request that is being answered has closed its side of the
    connection, or the connection is lost.
    """
    return request.transport is None or cast(Connection, request.protocol).has_left


def connections_by_address(settings: Settings, limit: int, is_trusted: Callable[[str], bool]) -> ConnectionsByAddress:
    """The bound of FOLDLOG_MAX_CONNECTIONS_PER_ADDRESS; where the server may open few
    connections, at most a quarter of them.
    """
    most = settings.max_connections_per_address
    return ConnectionsByAddress(min(most, max(8, limit // 4)), is_trusted)


def connection_limit(settings: Settings) -> int:
    """How many connections the server may open: FOLDLOG_MAX_CONNECTIONS, or fewer if
    the process cannot get that many descriptors. Raises the soft limit of descriptors.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_DESCRIPTORS
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(settings.max_connections, max(16, soft - OTHER_DESCRIPTORS))
