"""GET /admin/api/status."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.auth import require_read
from shared.status import read_status


async def get_status(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The event balance (P8), segments, lag and disk."""
    await require_read(worker, request)
    status = await asyncio.to_thread(read_status, worker.data, worker.settings)
    return web.Response(
        body=msgspec.json.encode(status), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
