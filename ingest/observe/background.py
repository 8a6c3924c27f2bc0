"""Background tasks of a worker: close stalled connections, run maintenance, serve its
stats, keep the store of the rate limit open, share with other hosts, send
heartbeats.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count

from ingest.context import WorkerContext
from ingest.http.connection import Server
from ingest.observe.peers import serve_stats
from ingest.rate_store.link import StoreLink
from ingest.sharing.with_hosts import Sharing
from shared.systemd_notify import Notifier
from shared.worker_stats import WorkerStats

# Connections are checked in shares, so that a thousand that connected together are not
# all closed, and reopened, in one turn of the event loop.
CHECK_INTERVAL_S = 1.0
CHECK_SHARES = 20
MAINTENANCE_INTERVAL_S = 10.0
HEARTBEATS_PER_INTERVAL = 4
# How long the first requests wait for the store of the rate limit: a restart should not
# give a client its limit again.
FIRST_OPEN_S = 1.0


@asynccontextmanager
async def background_tasks(worker: WorkerContext, server: Server, writer: str) -> AsyncIterator[None]:
    """Run the background tasks, except heartbeats, while the worker serves."""

    def current_stats() -> WorkerStats:
        stats = worker.stats
        stats.queue_requests, stats.queue_bytes = worker.commit_queue.waiting
        stats.connections = server.open_connections
        stats.readers = worker.reader.running
        return stats

    upkeep = asyncio.create_task(_upkeep(worker, server))
    try:
        stats_server = await serve_stats(worker.data, writer, current_stats)
    except OSError as error:  # such as a full disk: storing events matters more than metrics
        worker.log.error("stats_socket_failed", writer=writer, reason=str(error))
        stats_server = None
    try:
        async with _open_link(worker.rate_link), _sharing(worker.sharing):
            yield
    finally:
        upkeep.cancel()
        if stats_server is not None:
            stats_server.close()
            with suppress(OSError):
                worker.data.socket(writer).unlink()


@asynccontextmanager
async def _open_link(link: StoreLink | None) -> AsyncIterator[None]:
    """Keep the store of the rate limit open, where there is one."""
    if link is None:
        yield
        return
    async with link.running(FIRST_OPEN_S):
        yield


@asynccontextmanager
async def _sharing(sharing: Sharing | None) -> AsyncIterator[None]:
    """Share with the other hosts, where there is a store for it."""
    if sharing is None:
        yield
        return
    async with sharing.running():
        yield


@asynccontextmanager
async def heartbeat(notifier: Notifier) -> AsyncIterator[None]:
    """Send heartbeats while the event loop turns.

    Separate from the other tasks, which may wait for the disk.
    """

    async def send() -> None:
        while True:
            notifier.alive()
            await asyncio.sleep(notifier.interval_s / HEARTBEATS_PER_INTERVAL)

    sender = asyncio.create_task(send()) if notifier.interval_s else None
    try:
        yield
    finally:
        if sender is not None:
            sender.cancel()


async def _upkeep(worker: WorkerContext, server: Server) -> None:
    due = 0.0
    for turn in count():
        server.close_stalled(slice(turn % CHECK_SHARES, None, CHECK_SHARES))
        if time.monotonic() >= due:
            due = time.monotonic() + MAINTENANCE_INTERVAL_S
            try:
                await asyncio.to_thread(worker.run_maintenance)
            except Exception as error:  # noqa: BLE001  such as a full disk: stalled connections are closed all the same
                worker.log.error("maintenance_failed", reason=repr(error)[:1000])
        await asyncio.sleep(CHECK_INTERVAL_S / CHECK_SHARES)
