"""POST /admin/api/fold: seal and fold now."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.async_wait import wait_for
from ingest.context import WorkerContext
from ingest.http.auth import require_admin
from ingest.http.connection import client_has_left
from ingest.http.problem import Problem
from shared.disk.control_files import SEAL_TIMEOUT_S, RequestTimedOut, request_fold, request_seal
from shared.generations.load import load_snapshot

FOLD_TIMEOUT_S = 120


async def post_fold(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """200 once a published snapshot holds every event accepted before the request.

    Raises Problem 503 when a writer or the compactor does not act in time, and when the
    client has closed its side.
    """
    await require_admin(worker, request)

    def is_unwanted() -> bool:
        return worker.is_drained() or client_has_left(request)

    try:
        sealed = await asyncio.to_thread(request_seal, worker.data)
        await wait_for(sealed, SEAL_TIMEOUT_S, is_unwanted, "seal")
        folded = await asyncio.to_thread(request_fold, worker.data)
        await wait_for(folded, FOLD_TIMEOUT_S, is_unwanted, "fold")
    except RequestTimedOut as error:
        raise Problem(503, "fold", str(error), retry_after_s=10) from None
    snapshot = await asyncio.to_thread(load_snapshot, worker.data)
    return web.json_response({"generation": snapshot.generation, "as_of": snapshot.as_of})
