"""GET /admin/api/snapshot."""

from __future__ import annotations

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.auth import require_read
from ingest.http.problem import Problem
from shared.generations.load import find_snapshot

SUMMARY_VIEW = "summary"


async def get_snapshot(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The bytes of snapshot.json, or with `view=summary` its summary; the ETag is its
    generation.

    Raises Problem 404 before the first fold, and where there is no summary.
    """
    await require_read(worker, request)
    is_summary = _wants_summary(request)
    snapshot, content, _ = find_snapshot(worker.data)
    if not content:
        raise Problem(404, "no_snapshot", "nothing has been folded yet")
    etag = f'"{snapshot.generation}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    if is_summary:
        if snapshot.summary is None:
            raise Problem(404, "no_summary", "this generation has no summary; the next fold makes one")
        content = msgspec.json.encode(snapshot.summary)
    return web.Response(body=content, content_type="application/json", headers=headers)


def _wants_summary(request: BaseRequest) -> bool:
    """Raises Problem 400."""
    if not request.query:
        return False
    if unknown := sorted(set(request.query) - {"view"}):
        raise Problem(400, "query", f"{unknown[0]}: unknown parameter; valid is view")
    if request.query.getall("view") != [SUMMARY_VIEW]:
        raise Problem(400, "query", f"view: the only one is {SUMMARY_VIEW}; without it, the whole snapshot is sent")
    return True
