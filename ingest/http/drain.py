"""How a worker stops: it accepts nobody any more, and refuses nobody whom it has
accepted.

Every answer from then on says `Connection: close`. A connection on which nothing
arrives stays for a moment: its client may have sent the next request before it could
hear of the stop.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from ingest.context import WorkerContext
from ingest.http.connection import Server

GRACE_S = 2.0
DRAIN_S = 5.0
LOOK_S = 0.02


async def drain(worker: WorkerContext, server: Server, runner: web.ServerRunner, grace_s: float = GRACE_S) -> None:
    """Returns when nobody is left, or after DRAIN_S. Requests that come later are
    refused with 503 `stopping`.

    A worker that cannot store events any more has no grace to give: the sooner it is
    started anew, the better.
    """
    worker.stopping = True
    for site in list(runner.sites):
        await site.stop()
    started = time.monotonic()
    await asyncio.sleep(0)  # what the system has accepted by now becomes a connection in this turn of the loop
    while (server.open_connections or worker.in_flight) and time.monotonic() - started < DRAIN_S:
        if time.monotonic() - started >= grace_s:
            server.close_idle()
        await asyncio.sleep(LOOK_S)
    worker.rejecting = True
