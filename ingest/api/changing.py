"""What requests have in common by which an operator changes what is kept: parameters,
bodies, what may be in the way of a change, and answers.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.body_reader import read_body
from ingest.http.problem import Problem
from ingest.share_links.links import NoRoomForLinks, TooManyLinks
from ingest.share_links.links_file import LinksBusy
from ingest.sharing.documents import Document
from ingest.sharing.share_links import NO_ANSWER
from ingest.sharing.with_hosts import Sharing
from shared.kept_entries import Changing, EntriesBusy, NoRoomForEntries, TooManyEntries

JSON = "application/json"
# The longest entry of a file, each character as an escape.
BODY_MAX_BYTES = 16 << 10

_T = TypeVar("_T")


def _invalid(detail: str) -> Problem:
    return Problem(422, "invalid", detail)


def _too_many(detail: str) -> Problem:
    return Problem(409, "too_many", detail)


def require_parameters(request: BaseRequest, names: tuple[str, ...]) -> None:
    """Raises Problem 400 for others, and for one that is not given once."""
    if len(request.query) != len(names) or set(request.query) != set(names):
        raise Problem(400, "query", f"parameters are: {', '.join(names) or 'none'}")


async def json_body(
    worker: WorkerContext,
    request: BaseRequest,
    decoder: msgspec.json.Decoder[_T],
    invalid: Callable[[str], Problem] = _invalid,
    max_bytes: int = BODY_MAX_BYTES,
) -> _T:
    """Raises Problem 400 for what is no JSON, 413, 415, and what `invalid` makes of
    what it may not say.
    """
    if request.content_type != JSON:
        raise Problem(415, "media_type", f"send it as {JSON}")
    content = await read_body(request, max_bytes, worker.body_budget)
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "malformed", "the body is no JSON") from None


def changing_of(worker: WorkerContext, document: Callable[[Sharing], Document]) -> Changing | None:
    """How a document is changed for all hosts of a store; None where there is none."""
    sharing = worker.sharing
    return partial(sharing.documents.changing, document(sharing)) if sharing else None


async def kept(change: Callable[[], _T], file: str, too_many: Callable[[str], Problem] = _too_many) -> _T:
    """What a change of a file returns that is this host's, or one of all hosts of a
    store. Raises what `too_many` makes, and Problem 503 and 507 where it cannot be made
    now.
    """
    try:
        return await changed(change, file)
    except (TooManyEntries, NoRoomForEntries, TooManyLinks, NoRoomForLinks) as error:
        raise too_many(str(error)) from None
    except NO_ANSWER:
        detail = "the store that hosts share does not take it; nothing was changed"
        raise Problem(503, "store_unavailable", detail, retry_after_s=30) from None
    except (EntriesBusy, LinksBusy) as error:
        raise Problem(503, "busy", str(error), retry_after_s=5) from None


async def changed(change: Callable[[], _T], what: str) -> _T:
    """What a change returns, made in a thread. Raises Problem 503 and 507 where the
    disk does not take it.
    """
    try:
        return await asyncio.to_thread(change)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Problem(507, "disk_full", f"there is no space for {what}", retry_after_s=30) from None
        raise Problem(503, "unavailable", f"{what} cannot be written", retry_after_s=30) from None


def answered(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type=JSON, headers={"Cache-Control": "no-store"}
    )
