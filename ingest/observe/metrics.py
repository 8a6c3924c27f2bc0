"""GET /metrics: Prometheus text of all workers and the compactor."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext


async def get_metrics(worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """Every metric of docs/metrics.md, whichever worker answers."""
    text, media_type = await asyncio.to_thread(_render, worker)
    return web.Response(body=text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


def _render(worker: WorkerContext) -> tuple[bytes, str]:
    # In the thread: a worker that is never scraped does without prometheus_client, and
    # the import does not block the event loop.
    from prometheus_client import CONTENT_TYPE_LATEST

    from ingest.observe.metric_families import render

    return render(worker.data, worker.settings), CONTENT_TYPE_LATEST
