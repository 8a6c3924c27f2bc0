"""What the addresses have in common where people keep entries (shared/kept_entries.py):
bodies, answers, and what is said of a change that cannot be made.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.body_reader import read_body
from ingest.http.problem import Problem
from shared.kept_entries import EntriesBusy, NoRoomForEntries, TooManyEntries

JSON = "application/json"
# The longest entry, each character as an escape.
BODY_MAX_BYTES = 16 << 10

T = TypeVar("T")


async def read_entry(
    worker: WorkerContext, request: BaseRequest, decoder: msgspec.json.Decoder[T], invalid: Callable[[str], Problem]
) -> T:
    """The entry of a PUT. Raises Problem 400, 413, 415, and what `invalid`
    makes of what is wrong with it.
    """
    if request.content_type != JSON:
        raise Problem(415, "media_type", f"send it as {JSON}")
    try:
        return decoder.decode(await read_body(request, BODY_MAX_BYTES, worker.body_budget))
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "malformed", "the body is no JSON") from None


async def changed(change: Callable[[], bool], file: str, too_many: Callable[[str], Problem]) -> bool:
    """What a change returns. Raises what `too_many` makes, and Problem 503 or 507."""
    try:
        return await asyncio.to_thread(change)
    except (TooManyEntries, NoRoomForEntries) as error:
        raise too_many(str(error)) from None
    except EntriesBusy as error:
        raise Problem(503, "busy", str(error), retry_after_s=5) from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Problem(507, "disk_full", f"there is no space for {file}", retry_after_s=30) from None
        raise Problem(503, "unavailable", f"{file} cannot be written", retry_after_s=30) from None


def require_parameters(request: BaseRequest, names: tuple[str, ...]) -> None:
    """Raises Problem 400 for others, and for one that is not given once."""
    if len(request.query) != len(names) or set(request.query) != set(names):
        raise Problem(400, "query", f"parameters are: {', '.join(names) or 'none'}")


def answered(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type=JSON, headers={"Cache-Control": "no-store"}
    )
