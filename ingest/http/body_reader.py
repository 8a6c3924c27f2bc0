"""Reads a request body within its limits: size, time, and the memory shared by all
bodies.
"""

from __future__ import annotations

import asyncio
import random
from typing import cast

from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.web_request import BaseRequest

from ingest.http.connection import Connection
from ingest.http.problem import Problem, body_too_large

BODY_TIMEOUT_S = 5.0
# Each 8 KiB received extend the deadline by a second: enough for a phone on a bad line,
# not for a client that sends a byte a second.
BODY_MIN_RATE = 8192


class BodyBudget:
    """Memory budget, in bytes, shared by all request bodies still being received.

    Bounds many clients that are each within their own limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes

    def reserve(self, size: int) -> None:
        """Raises Problem 503 when the budget is used up."""
        if size > self._free:
            raise Problem(503, "busy", "too many request bodies are being received", retry_after_s=1, close=True)
        self._free -= size

    def release(self, size: int) -> None:
        self._free += size


async def read_body(request: BaseRequest, max_bytes: int, budget: BodyBudget) -> bytes:
    """The whole body as sent.

    Raises Problem 400 without a body, 408 when it is too slow, 413 when it is too
    large, 417 for an unknown expectation, 503 when the budget is used up.
    """
    if not request.can_read_body:
        raise Problem(400, "malformed", "the request has no body")
    if "Expect" in request.headers:
        await _send_100_continue(request)
    stream = request.content
    if not stream.is_eof() and cast(Connection, request.protocol).is_broken():
        raise _length_mismatch()
    # Fast path: most bodies arrive together with the head.
    content = stream.read_nowait() if stream.is_eof() else await _read_slowly(request, max_bytes, budget)
    if len(content) > max_bytes:
        raise body_too_large(max_bytes)
    return content


async def _read_slowly(request: BaseRequest, max_bytes: int, budget: BodyBudget) -> bytes:
    stream = request.content
    content = bytearray()
    # Up to a second of jitter, so that a thousand slow clients that connected together
    # do not time out in the same turn of the event loop.
    started = asyncio.get_running_loop().time() + random.random()  # noqa: S311
    reserved = 0
    try:
        async with asyncio.timeout_at(started + BODY_TIMEOUT_S) as deadline:
            while not stream.is_eof():
                block = await stream.readany()
                if len(content) + len(block) > max_bytes:
                    raise body_too_large(max_bytes)
                budget.reserve(len(block))
                reserved += len(block)
                content += block
                earned, before = len(content) // BODY_MIN_RATE, (len(content) - len(block)) // BODY_MIN_RATE
                del block  # otherwise the last block stays in memory twice during the next wait
                if earned > before:  # rescheduling for every byte would cost too much
                    deadline.reschedule(started + BODY_TIMEOUT_S + earned)
        content += stream.read_nowait()
    except TimeoutError:
        raise Problem(408, "slow", f"the body must arrive within {BODY_TIMEOUT_S:g} seconds", close=True) from None
    except web.RequestPayloadError:
        raise _length_mismatch() from None
    finally:
        budget.release(reserved)
    if cast(Connection, request.protocol).is_broken():
        raise _length_mismatch()
    return bytes(content)


async def _send_100_continue(request: BaseRequest) -> None:
    """Answer `Expect: 100-continue`, for which the client holds back its body.

    Raises Problem 417 for any other expectation.
    """
    if request.headers["Expect"].lower() != "100-continue":
        raise Problem(417, "expect", "only Expect: 100-continue is supported")
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the interim response is not part of the response


def _length_mismatch() -> Problem:
    return Problem(400, "malformed", "the body does not match its length or chunks", close=True)
