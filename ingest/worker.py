"""One ingest worker: an aiohttp server on a port that workers share, and the writer
behind it.

Where a behaviour lives: writing in collect.py, reading in admin.py, routing and the
last resort in routes.py.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import uvloop
from aiohttp import web

from ingest.api import admin
from ingest.api.visitors import delete_visitor
from ingest.collect.country import CountryLookup
from ingest.collect.handler import post_events, preflight_events
from ingest.collect.rate_limit import RateLimiter
from ingest.collect.undeclared_proxy import ProxyWatch
from ingest.collect.visitor_id import VisitorHash
from ingest.context import WorkerContext
from ingest.http.auth import Keyring
from ingest.http.connection import Server, connection_limit
from ingest.http.drain import GRACE_S, drain
from ingest.http.openapi import get_openapi
from ingest.http.router import Route, dispatch
from ingest.observe.background import background_tasks, heartbeat
from ingest.observe.health import get_health, get_readiness
from ingest.observe.metrics import get_metrics
from ingest.wal.commit_queue import GroupCommitWriter
from reports.reader.client import Reader
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.segments.recovery import WriterAlive
from shared.settings import Settings, format_address
from shared.systemd_notify import Notifier
from shared.worker_stats import WorkerStats

EXIT_DONE = 0
EXIT_TRY_AGAIN = 75

# For requests that are still under way when the time for answers is over (drain.py).
SHUTDOWN_S = 10.0
# A thread that waits for the interpreter gets it after this long; the default of 5 ms
# would be the latency of a commit.
SWITCH_INTERVAL_S = 0.0001
# A socket that systemd holds gets this one, too, while a worker accepts from it; the
# system allows net.core.somaxconn at most.
BACKLOG = 4096
LOCK_PATIENCE_S = 5.0
GC_YOUNG = 10_000


@dataclass(frozen=True)
class Start:
    """What whoever starts a worker gives it. `supervised`: it also stops at the end of
    standard input.

    `rate_table` is the descriptor of the memory in which workers count clients
    together; without it this one counts alone. `sockets` are listening ones; without
    any it listens on FOLDLOG_LISTEN.
    """

    supervised: bool = False
    rate_table: int = -1
    sockets: Sequence[socket.socket] = ()
    notifier: Notifier = field(default_factory=Notifier)


def run_worker(settings: Settings, writer: str, log: Log, start: Start) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # what is loaded by now stays: the collector need not look at it again and again
    gc.set_threshold(GC_YOUNG)
    try:
        return uvloop.run(_serve(settings, writer, log, start))
    finally:
        gc.unfreeze()  # what stays frozen to the end is called a leak on standard error


async def _serve(settings: Settings, writer: str, log: Log, start: Start) -> int:
    data = DataDirectory(settings.data_dir)
    make_data_directory(data)
    country = CountryLookup(settings, log)
    stats = WorkerStats()
    stop = asyncio.Event()
    exit_code = EXIT_DONE

    def fail() -> None:
        nonlocal exit_code
        exit_code = EXIT_TRY_AGAIN
        loop.call_soon_threadsafe(stop.set)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if start.supervised:
        loop.add_reader(sys.stdin.fileno(), stop.set)

    try:
        log_writer = await _open_writer(data, writer, settings, log, fail, stats)
    except WriterAlive:
        log.error("writer_alive", writer=writer, reason=f"{data.active(writer)} is open in another process")
        return EXIT_TRY_AGAIN
    loop.add_signal_handler(signal.SIGUSR1, log_writer.seal_soon)
    worker = WorkerContext(
        settings=settings,
        data=data,
        log=log,
        writer=log_writer,
        stats=stats,
        rate_limiter=RateLimiter(settings, start.rate_table),
        keyring=Keyring(data, settings),
        visitor_hash=VisitorHash(data, settings),
        country=country,
        proxy_watch=ProxyWatch(data, settings, log),
        reader=Reader(settings),
    )
    server = Server(dispatch(worker, ROUTES), connection_limit(settings), stats)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        async with background_tasks(worker, server, writer):
            addresses = await _listen(runner, settings, start.sockets)
            log.info("worker_listening", writer=writer, address=addresses, inherited=bool(start.sockets))
            start.notifier.ready(f"writer {writer} takes events on {addresses}")
            async with heartbeat(start.notifier):
                await stop.wait()
                start.notifier.stopping()
                await drain(worker, server, runner, GRACE_S if exit_code == EXIT_DONE else 0)
    except OSError as error:
        log.error("worker_not_listening", address=format_address(*settings.listen), reason=error.strerror)
        exit_code = EXIT_TRY_AGAIN if error.errno == errno.EADDRINUSE else 2
    finally:
        await runner.cleanup()
        await log_writer.close()  # what they wrote is committed and sealed
        await worker.reader.close()
        log.info("worker_stopped", writer=writer)
    return exit_code


async def _listen(runner: web.ServerRunner, settings: Settings, inherited: Sequence[socket.socket]) -> str:
    """Begin to accept. Returns the addresses, for people. Raises OSError."""
    host, port = settings.listen
    sites: list[web.BaseSite] = [web.SockSite(runner, each, backlog=BACKLOG) for each in inherited]
    for site in sites or [web.TCPSite(runner, host, port, reuse_port=True, backlog=BACKLOG)]:
        await site.start()
    return ", ".join([format_address(*address[:2]) for address in runner.addresses])


async def _open_writer(
    data: DataDirectory, writer: str, settings: Settings, log: Log, fail: Callable[[], None], stats: WorkerStats
) -> GroupCommitWriter:
    """Open the log, with patience for a recovery by the compactor or for a predecessor
    that is still sealing.
    """
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return GroupCommitWriter(data, writer, settings, log, fail, stats)
        except WriterAlive:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


# Everything there is, and all that docs/api.md must list.
ROUTES: list[Route] = [
    ("POST", "/v1/events", post_events),
    ("OPTIONS", "/v1/events", preflight_events),
    ("GET", "/healthz", get_health),
    ("GET", "/readyz", get_readiness),
    ("GET", "/metrics", get_metrics),
    ("GET", "/openapi.json", get_openapi),
    *admin.ROUTES,
    ("DELETE", "/admin/api/visitors/{id}", delete_visitor),
]
