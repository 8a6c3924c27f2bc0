"""What is made for a client ends when the client leaves. Without a request body to
read, nothing else notices that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp.web_request import BaseRequest

from ingest.http.connection import client_has_left

# How often it is looked whether the client still waits.
GONE_POLL_S = 0.5

_T = TypeVar("_T")


async def while_wanted(request: BaseRequest, made: Awaitable[_T], *, is_answering: bool = False) -> _T:
    """What is made. Raises ConnectionResetError, and cancels what makes it, once the
    client has closed its side; while it is answering, once the connection is lost.
    """
    making = asyncio.ensure_future(made)
    try:
        while not making.done():
            await asyncio.wait((making,), timeout=GONE_POLL_S)
            has_left = request.transport is None if is_answering else client_has_left(request)
            if not making.done() and has_left:
                raise ConnectionResetError("the client has left")
        return making.result()
    finally:
        if not making.done():
            making.cancel()
            await asyncio.wait((making,))
