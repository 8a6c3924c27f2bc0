"""GET /admin/api/status."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.share_links.access import require_reader
from shared.status import Freshness, Status, read_freshness, read_status


async def get_status(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The event balance (P8), segments, lag and disk; for a token of some sites only up
    to when events are counted.
    """
    access = await require_reader(worker, request)
    status: Status | Freshness
    if access.sites is None:
        status = await asyncio.to_thread(read_status, worker.data, worker.settings)
    else:
        status = await asyncio.to_thread(read_freshness, worker.data, access.sites)
    return web.Response(
        body=msgspec.json.encode(status), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
