"""What a worker does though nobody asks: close slow connections, forget what may not be
kept, answer its peers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count

from ingest.context import WorkerContext
from ingest.http.connection import Server
from ingest.observe.peers import answer_peers
from shared.systemd_notify import Notifier
from shared.worker_stats import WorkerStats

# A share at a time: a thousand that came together must not all be closed, and come
# again, in one turn of the loop.
SWEEP_S = 1.0
SWEEP_SHARES = 20
WRITE_S = 10.0
LIFE_SHARE = 4


@asynccontextmanager
async def background_tasks(worker: WorkerContext, server: Server, writer: str) -> AsyncIterator[None]:
    """All of it, while the worker serves."""

    def current() -> WorkerStats:
        stats = worker.stats
        stats.queue_requests, stats.queue_bytes = worker.writer.waiting
        stats.connections = server.open_connections
        return stats

    house = asyncio.create_task(_keep_house(worker, server))
    try:
        peers = await answer_peers(worker.data, writer, current)
    except OSError as error:  # a full disk, say: events matter more than what is counted about them
        worker.log.error("stats_socket_failed", writer=writer, reason=str(error))
        peers = None
    try:
        yield
    finally:
        house.cancel()
        if peers is not None:
            peers.close()
            with suppress(OSError):
                worker.data.socket(writer).unlink()


@asynccontextmanager
async def heartbeat(notifier: Notifier) -> AsyncIterator[None]:
    """Signs of life, for as long as the event loop turns. Apart from the house, which
    may wait for the disk.
    """

    async def show() -> None:
        while True:
            notifier.alive()
            await asyncio.sleep(notifier.interval_s / LIFE_SHARE)

    life = asyncio.create_task(show()) if notifier.interval_s else None
    try:
        yield
    finally:
        if life is not None:
            life.cancel()


async def _keep_house(worker: WorkerContext, server: Server) -> None:
    due = 0.0
    for turn in count():
        server.close_stalled(slice(turn % SWEEP_SHARES, None, SWEEP_SHARES))
        if time.monotonic() >= due:
            due = time.monotonic() + WRITE_S
            try:
                await asyncio.to_thread(worker.run_maintenance)
            except Exception as error:  # noqa: BLE001  a full disk, say; slow connections must be closed all the same
                worker.log.error("maintenance_failed", reason=repr(error)[:1000])
        await asyncio.sleep(SWEEP_S / SWEEP_SHARES)
