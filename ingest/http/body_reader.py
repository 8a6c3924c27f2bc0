"""The body of a request as it arrives, within its limits: bytes, time, and what all
bodies together may hold in memory.
"""

from __future__ import annotations

import asyncio
import random
from typing import cast

from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.web_request import BaseRequest

from ingest.http.connection import Connection
from ingest.http.problem import Refusal

BODY_TIMEOUT_S = 5.0
# Each 8 KiB that arrive earn another second: a phone on a bad line is done in time, a
# byte a second is not.
BODY_MIN_RATE = 8192


class Held:
    """How many bytes all bodies hold that are still arriving. Many clients that each
    stay within their limit stay within it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def take(self, size: int) -> None:
        """Raises Refusal 503 when there is no room."""
        if size > self._left:
            raise Refusal(503, "busy", "too many bodies are arriving at once", retry_after_s=1, close=True)
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


async def read_body(request: BaseRequest, max_bytes: int, held: Held) -> bytes:
    """The whole body as sent. Raises Refusal 413 as soon as it is too long, 408 when it
    is slow, 400 when there is none.
    """
    if not request.can_read_body:
        raise Refusal(400, "malformed", "the request has no body")
    if "Expect" in request.headers:
        await _invite(request)
    stream = request.content
    if not stream.is_eof() and cast(Connection, request.protocol).is_broken():
        raise _broken_off()
    # Most bodies arrive together with the head, and this is all.
    content = stream.read_nowait() if stream.is_eof() else await _read_slowly(request, max_bytes, held)
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


async def _read_slowly(request: BaseRequest, max_bytes: int, held: Held) -> bytes:
    stream = request.content
    content = bytearray()
    # Up to a second more: a thousand slow clients that came together are not all
    # answered in one turn of the loop.
    started = asyncio.get_running_loop().time() + random.random()  # noqa: S311
    taken = 0
    try:
        async with asyncio.timeout_at(started + BODY_TIMEOUT_S) as patience:
            while not stream.is_eof():
                block = await stream.readany()
                if len(content) + len(block) > max_bytes:
                    raise _too_large(max_bytes)
                held.take(len(block))
                taken += len(block)
                content += block
                earned, before = len(content) // BODY_MIN_RATE, (len(content) - len(block)) // BODY_MIN_RATE
                del block  # while this waits for the next one, the body is held once and not twice
                if earned > before:  # not for each of the bytes of a client that sends them one by one
                    patience.reschedule(started + BODY_TIMEOUT_S + earned)
        content += stream.read_nowait()
    except TimeoutError:
        raise Refusal(408, "slow", f"the body has {BODY_TIMEOUT_S:g} seconds to arrive", close=True) from None
    except web.RequestPayloadError:
        raise _broken_off() from None
    finally:
        held.give_back(taken)
    if cast(Connection, request.protocol).is_broken():
        raise _broken_off()
    return bytes(content)


async def _invite(request: BaseRequest) -> None:
    """`Expect: 100-continue`: the client waits for a sign before it sends its body.
    Raises Refusal 417 for anything else.
    """
    if request.headers["Expect"].lower() != "100-continue":
        raise Refusal(417, "expect", "only Expect: 100-continue is understood")
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # it is not part of the answer


def _broken_off() -> Refusal:
    return Refusal(400, "malformed", "the body is not what its headers announce", close=True)


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, "too_large", f"the body may have {max_bytes} bytes")
