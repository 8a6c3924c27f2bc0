"""How a worker stops: it accepts no new connection, and answers every request of the
connections it has.

Every response from then on has `Connection: close`. An idle connection stays open for a
grace period, because its client may have sent a request before it could see the stop.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.connection import Connection, Server
from ingest.http.problem import Problem

GRACE_S = 2.0
DRAIN_S = 5.0
POLL_S = 0.02


async def drain(worker: WorkerContext, server: Server, runner: web.ServerRunner, grace_s: float = GRACE_S) -> None:
    """Returns when no connection is left, or after DRAIN_S. Later requests get 503
    `stopping`, and a client that takes its answer more slowly than that is cut.

    A worker that can no longer store events passes a `grace_s` of 0, to restart sooner.
    """
    worker.draining = True
    for site in list(runner.sites):
        await site.stop()
    started = time.monotonic()
    await asyncio.sleep(0)  # sockets that the kernel has accepted become connections in this turn of the loop
    while (server.open_connections or worker.in_flight) and time.monotonic() - started < DRAIN_S:
        if time.monotonic() - started >= grace_s:
            server.close_idle()
        await asyncio.sleep(POLL_S)
    server.cut_blocked()
    worker.drained = True


def reject_if_drained(worker: WorkerContext) -> None:
    """Raises Problem 503 `stopping` once the time for responses is over."""
    if worker.drained:
        raise Problem(503, "stopping", "the server is shutting down", retry_after_s=1, close=True)


def closes_connection(worker: WorkerContext, request: BaseRequest) -> bool:
    """Whether the response to this request is the last one of its connection: the
    worker stops, and no further request has arrived on it.
    """
    return worker.draining and not cast(Connection, request.protocol).has_next
