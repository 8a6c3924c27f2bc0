"""GET /admin/api/snapshot."""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.auth import require_read
from ingest.http.problem import Problem
from shared.generations.load import find_snapshot


async def get_snapshot(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The bytes of snapshot.json; the ETag is its generation.

    Raises Problem 404 before the first fold.
    """
    require_read(worker, request)
    snapshot, content, _ = find_snapshot(worker.data)
    if not content:
        raise Problem(404, "no_snapshot", "nothing has been folded yet")
    etag = f'"{snapshot.generation}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type="application/json", headers=headers)
