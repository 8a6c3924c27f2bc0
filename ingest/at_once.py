"""Answering a request in the turn of the loop in which its last byte arrives.

aiohttp wakes a task for each connection, which makes another for each request: three turns of the loop and a task before a
handler begins, as much as all of decoding, checking and storing one event. The request that is sent most of all, an event
in one piece on a connection with nothing else to do, is handled where its bytes are received instead. Everything after
that, and every other request, is aiohttp's as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp.http import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

METHOD, PATH = "POST", "/v1/events"


class AtOnce(RequestHandler):
    """A connection that handles a POST to /v1/events at once, if it is there as a whole and nothing is before it."""

    __slots__ = ("_busy",)

    def __init__(self, manager: Any, **options: Any) -> None:
        super().__init__(manager, **options)
        self._busy = False

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            RequestHandler.data_received(self, data)
            return
        # aiohttp's task sleeps. Without a waiter there is nothing to wake it by, until it is clear whether it is needed.
        self._waiter = None
        RequestHandler.data_received(self, data)
        self._waiter = waiter
        if not self._messages or self._busy:
            return  # what is being handled at once is answered first
        if len(self._messages) == 1 and self._is_whole(*self._messages[0]):
            message, payload = self._messages.popleft()
            self._busy = True
            Run(self._handle_at_once(message, payload))  # type: ignore[arg-type]  # _is_whole looked
        else:
            waiter.set_result(None)

    def _is_whole(self, message: object, payload: StreamReader) -> bool:
        return (
            isinstance(message, RawRequestMessage)
            and message.path == PATH
            and message.method == METHOD
            and payload.is_eof()
            and not (message.upgrade or self._upgraded or self._close or self._force_close)
        )

    async def _handle_at_once(self, message: RawRequestMessage, payload: StreamReader) -> None:
        """What RequestHandler.start does for one request, without a task of its own."""
        manager = self._manager
        if manager is None or self._request_factory is None or self._request_handler is None or self._parser is None:
            return  # the connection is lost
        self._parser.message_consumed()
        manager.requests_count += 1
        writer = StreamWriter(self, self._loop)
        request = self._request_factory(message, payload, self, writer, self._task_handler)  # type: ignore[arg-type]
        keep_alive = False
        try:
            response, is_gone = await self._handle_request(request, None, self._request_handler)
            keep_alive = bool(response.keep_alive) and not is_gone
        except Exception as error:  # noqa: BLE001  as start does: nobody awaits this coroutine
            self.log_exception("Unhandled exception", exc_info=error)
        finally:
            request._task = None  # type: ignore[assignment]  # a circle, if an exception holds the request
            self._busy = False
            self._go_on(keep_alive=keep_alive)

    def _go_on(self, *, keep_alive: bool) -> None:
        self._keepalive = keep_alive
        if not keep_alive or self._close or self._force_close:
            self.force_close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self._messages and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def resume_reading(self, resume_parser: bool = True) -> None:
        # Whoever reads a body asks for more to be read, which means parsing nothing and telling the transport.
        if not self._busy or self._reading_paused or self._buffer_paused:
            RequestHandler.resume_reading(self, resume_parser)

    def _process_keepalive(self) -> None:
        if self._busy:
            self._keepalive_handle = None  # set again when the answer is given
        else:
            RequestHandler._process_keepalive(self)


class Run:
    """Runs a coroutine up to its first future that is not done, and on from there whenever that is. Nothing may cancel it.

    What asyncio.Task(eager_start=True) does from Python 3.12 on, but not a task: asyncio.timeout and the like would raise.
    """

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[asyncio.Future[Any], None, None]) -> None:
        self._coroutine = coroutine
        self._step()

    # A function inside another would do, but hold itself: two circles a request for the collector to find.
    def _step(self, _done: object = None) -> None:
        try:
            future = self._coroutine.send(None)
        except StopIteration:
            return
        future._asyncio_future_blocking = False
        future.add_done_callback(self._step)
