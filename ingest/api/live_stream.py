"""GET /admin/api/live/stream: what arrives at this server, as server-sent events, so
that a developer who adds an event sees it at once.

A stream ends after STREAM_S, when its token is revoked or when the worker stops; at
most STREAMS_MOST are open in one worker. It holds no process and no memory of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.auth import Access, require_admin_access
from ingest.http.problem import SERVER, Problem

STREAMS_MOST = 16
STREAM_S = 600.0
POLL_S = 0.5
# A comment that often keeps proxies from closing what is quiet; the token is looked at
# then.
BEAT_S = 10.0
_OF_REJECTED = ("at", "outcome", "site", "code", "dry_run")
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Server": SERVER}


async def get_live_stream(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """Raises Problem 400, 401 or 403 without an admin token, 503 `busy` beyond
    STREAMS_MOST.
    """
    access = await require_admin_access(worker, request)
    if len(request.query.getall("site", [])) > 1:
        raise Problem(400, "query", "a parameter was given twice")
    site = access.question(dict(request.query)).get("site", "")
    if worker.live_streams >= STREAMS_MOST:
        raise Problem(503, "busy", "too many live streams are open; close one", retry_after_s=10)
    response = web.StreamResponse(headers=_HEADERS)
    response.content_type = "text/event-stream"
    worker.live_streams += 1
    try:
        following = worker.arrivals.watch()
        await response.prepare(request)
        await response.write(b": what arrives from now on\n\n")
        await _follow(worker, request, response, following, site, access)
        await response.write_eof()
    finally:
        worker.live_streams -= 1
    return response


async def _follow(
    worker: WorkerContext,
    request: BaseRequest,
    response: web.StreamResponse,
    following: int,
    site: str,
    access: Access,
) -> None:
    begun = said_at = checked_at = time.monotonic()
    while time.monotonic() - begun < STREAM_S and not worker.draining and request.transport is not None:
        worker.arrivals.watch()
        following, found = worker.arrivals.since(following)
        wanted = _shown(found, site, access)
        now = time.monotonic()
        if now - checked_at >= BEAT_S:
            checked_at = now
            if worker.keyring.access(request.headers) != access:
                return  # its token was revoked
        if not wanted and now - said_at >= BEAT_S:
            wanted = [b""]
        if wanted:
            said_at = now
            await response.write(b"".join(b"data: %b\n\n" % text if text else b": \n\n" for text in wanted))
        await asyncio.sleep(POLL_S)


def _shown(found: Sequence[bytes], site: str, access: Access) -> list[bytes]:
    """Arrivals of the site. One of some sites hears why an event was rejected by its
    code alone: in a batch of this site it may have named another one.
    """
    decoded = [orjson.loads(text) for text in found] if site else []
    if access.sites is not None:
        decoded = [
            {name: each[name] for name in each if each["outcome"] != "rejected" or name in _OF_REJECTED}
            for each in decoded
        ]
    return [orjson.dumps(each) for each in decoded if each["site"] == site] if site else list(found)
