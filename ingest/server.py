"""One ingest worker: an aiohttp server on a port that workers share, and the writer behind it.

Where a behaviour lives: writing in collect.py, reading in admin.py, routing and the last resort in routes.py.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import sys
import time
from collections.abc import Callable

import uvloop
from aiohttp import web

from ingest import admin
from ingest.collect import post_events, preflight_events
from ingest.connection import Server, room_for_connections
from ingest.country import CountryLookup
from ingest.erasure import delete_visitor
from ingest.health import get_health, get_readiness
from ingest.housekeeping import keeping_house
from ingest.keyring import Keyring
from ingest.meters import Meters
from ingest.metrics import get_metrics
from ingest.openapi import get_openapi
from ingest.proxy_watch import ProxyWatch
from ingest.rate_limit import RateLimiter
from ingest.reader import Reader
from ingest.routes import Route, dispatch
from ingest.service import Service
from ingest.visitor import VisitorHash
from ingest.writer import GroupCommitWriter, Log
from shared.layout import DataDirectory
from shared.publish import make_data_directory
from shared.recovery import WriterAlive
from shared.settings import Settings

EXIT_DONE = 0
EXIT_TRY_AGAIN = 75

DRAIN_S = 5.0
SHUTDOWN_S = 10.0
# A thread that waits for the interpreter gets it after this long; the default of 5 ms would be the latency of a commit.
SWITCH_INTERVAL_S = 0.0001
LOCK_PATIENCE_S = 5.0
GC_YOUNG = 10_000


def run_worker(settings: Settings, writer: str, log: Log, *, supervised: bool = False, rate_table: int = -1) -> int:
    """Serve until SIGTERM or SIGINT (or, `supervised`, the end of standard input). Returns the exit code.

    `rate_table` is the descriptor of the memory in which workers count clients together; without it this one counts alone.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # what is loaded by now stays: the collector need not look at it again and again
    gc.set_threshold(GC_YOUNG)
    try:
        return uvloop.run(_serve(settings, writer, log, supervised=supervised, rate_table=rate_table))
    finally:
        gc.unfreeze()  # what stays frozen to the end is called a leak on standard error


async def _serve(settings: Settings, writer: str, log: Log, *, supervised: bool, rate_table: int) -> int:
    data = DataDirectory(settings.data_dir)
    make_data_directory(data)
    country = CountryLookup(settings, log)
    meters = Meters()
    stop = asyncio.Event()
    exit_code = EXIT_DONE

    def fail() -> None:
        nonlocal exit_code
        exit_code = EXIT_TRY_AGAIN
        loop.call_soon_threadsafe(stop.set)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if supervised:
        loop.add_reader(sys.stdin.fileno(), stop.set)

    try:
        log_writer = await _open_writer(data, writer, settings, log, fail, meters)
    except WriterAlive:
        log.error("writer_alive", writer=writer, reason=f"{data.active(writer)} is open in another process")
        return EXIT_TRY_AGAIN
    loop.add_signal_handler(signal.SIGUSR1, log_writer.seal_soon)
    service = Service(
        settings,
        data,
        log,
        log_writer,
        meters,
        RateLimiter(settings, rate_table),
        Keyring(data, settings),
        VisitorHash(data, settings),
        country,
        ProxyWatch(data, settings, log),
        Reader(settings),
    )
    server = Server(dispatch(service, ROUTES), room_for_connections(settings), meters)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    host, port = settings.listen
    try:
        async with keeping_house(service, server, writer):
            await web.TCPSite(runner, host, port, reuse_port=True, backlog=1024).start()
            log.info("listening", writer=writer, address=f"{host}:{port}")
            await stop.wait()
    except OSError as error:
        log.error("cannot_listen", address=f"{host}:{port}", reason=error.strerror)
        exit_code = EXIT_TRY_AGAIN if error.errno == errno.EADDRINUSE else 2
    finally:
        await _drain(service, runner)
        await runner.cleanup()
        await log_writer.close()  # what they wrote is committed and sealed
        await service.reader.close()
        log.info("stopped", writer=writer)
    return exit_code


async def _drain(service: Service, runner: web.ServerRunner) -> None:
    """Take no new connections and no new requests, and give those under way time to be answered."""
    service.stopping = True
    for site in list(runner.sites):
        await site.stop()
    deadline = time.monotonic() + DRAIN_S
    while service.under_way and time.monotonic() < deadline:  # noqa: ASYNC110  a counter, looked at only while stopping
        await asyncio.sleep(0.02)


async def _open_writer(
    data: DataDirectory, writer: str, settings: Settings, log: Log, fail: Callable[[], None], meters: Meters
) -> GroupCommitWriter:
    """Open the log, with patience for a recovery by the compactor or for a predecessor that is still sealing."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return GroupCommitWriter(data, writer, settings, log, fail, meters)
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
