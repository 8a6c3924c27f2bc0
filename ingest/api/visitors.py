"""DELETE /admin/api/visitors/{id}: erase one visitor. The compactor does it; this asks,
and waits for a while.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.admin import may_act
from ingest.api.async_wait import until
from ingest.context import WorkerContext
from ingest.http.problem import Problem
from shared.disk.control_files import request_seal
from shared.disk.control_files import touch as publish_request
from shared.disk.layout import DataDirectory
from shared.erasures import ErasureRequest, create_request, is_done, progress_of
from shared.host_names import SITE

SEAL_TIMEOUT_S = 10
ERASE_TIMEOUT_S = 60
ID_MAX = 100


async def delete_visitor(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """200 with what was erased, or 202 when it is asked for and will be done. Raises
    Problem 400.
    """
    may_act(worker, request)
    visitor, site = sought(request)
    asked = await asyncio.to_thread(create_request, worker.data, visitor, site)
    # What the visitor sent until now is sealed and folded first, so that it is found. A
    # stuck writer delays the erasure: the compactor tries again with each pass.
    await until(await asyncio.to_thread(request_seal, worker.data), SEAL_TIMEOUT_S, worker.is_rejecting)
    await asyncio.to_thread(publish_request, worker.data.fold_request)
    if not await until(lambda: is_done(worker.data, asked), ERASE_TIMEOUT_S, worker.is_rejecting):
        return web.json_response({"request": asked.request, "state": "pending"}, status=202)
    return web.json_response(outcome(worker.data, asked))


def sought(request: BaseRequest) -> tuple[str, str | None]:
    """The visitor id and the site of a request. Raises Problem 400."""
    visitor = unquote(request.raw_path.partition("?")[0].rpartition("/")[2], errors="replace")
    if not 0 < len(visitor) <= ID_MAX:
        raise Problem(400, "query", f"a visitor id has 1 to {ID_MAX} characters")
    if unknown := sorted(set(request.query) - {"site"}):
        raise Problem(400, "query", f"{unknown[0]}: there is no such parameter; there is site")
    site = request.query.get("site")
    if len(request.query) > 1 or (site is not None and not SITE.fullmatch(site.lower())):
        raise Problem(400, "query", "site: one host such as example.com, or leave it out to erase on all sites")
    return visitor, site


def outcome(data: DataDirectory, asked: ErasureRequest) -> dict[str, Any]:
    """What was erased and what was not, as it is recorded."""
    begun, done = progress_of(data, asked.request)
    if begun is None or done is None:
        raise Problem(500, "internal", "the erasure is done, but its record in erasures.ndjson is gone")
    counts = {name: getattr(begun, name) for name in COUNTS}
    return {"request": asked.request, "state": "done", "generation": done.generation, **counts}


COUNTS = ("events", "days", "lines", "segments", "quarantined", "other_sites", "mentions", "unreadable")
