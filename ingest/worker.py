"""One ingest worker process: an aiohttp server on a port that all workers share, and
the writer of its log segment.

Requests are dispatched by http/router.py to the handlers listed in routes.py.
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

from ingest.collect.country import CountryLookup
from ingest.context import WorkerContext
from ingest.http.connection import Server, connection_limit, connections_by_address
from ingest.http.drain import GRACE_S, drain
from ingest.http.router import dispatch
from ingest.observe.background import background_tasks, heartbeat
from ingest.observe.doctor import DoctorCommand
from ingest.routes import ROUTES, routes_by_settings
from ingest.wal.commit_queue import CommitQueue
from shared import exit_codes
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.segments.recovery import WriterAlive
from shared.settings import Settings, format_address
from shared.systemd_notify import Notifier
from shared.worker_stats import WorkerStats

# For requests still in flight after the drain (drain.py).
SHUTDOWN_S = 10.0
# How long a thread waits for the GIL; the default of 5 ms would dominate the latency of
# a commit.
SWITCH_INTERVAL_S = 0.0001
# Also applied to an inherited socket; the kernel caps it at net.core.somaxconn.
BACKLOG = 4096
LOCK_TIMEOUT_S = 5.0
GC_YOUNG = 10_000


@dataclass(frozen=True)
class Start:
    """How a worker is started.

    `supervised`: the worker also stops at the end of standard input. `rate_table`:
    descriptor of the rate table shared by all workers, -1 without one. `sockets`:
    inherited listening sockets; without any, the worker listens on FOLDLOG_LISTEN.
    `doctor`: how to examine this host with these settings.
    """

    doctor: DoctorCommand

    supervised: bool = False
    rate_table: int = -1
    sockets: Sequence[socket.socket] = ()
    notifier: Notifier = field(default_factory=Notifier)


def run_worker(settings: Settings, writer: str, log: Log, start: Start) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # modules live as long as the process: keep the collector from scanning them
    gc.set_threshold(GC_YOUNG)
    try:
        return uvloop.run(_serve(settings, writer, log, start))
    finally:
        gc.unfreeze()  # objects still frozen at exit are reported as leaks on stderr


class _Stop:
    """When a worker stops, and with which exit code.

    SIGTERM, SIGINT and, if `supervised`, the end of standard input stop it.
    """

    def __init__(self, *, supervised: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self.exit_code = exit_codes.SUCCESS
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._event.set)
        if supervised:
            self._loop.add_reader(sys.stdin.fileno(), self._event.set)

    def fail(self) -> None:
        """Stop, because events can no longer be stored. Callable from any thread."""
        self.exit_code = exit_codes.TRY_AGAIN
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


async def _serve(settings: Settings, writer: str, log: Log, start: Start) -> int:
    data = DataDirectory(settings.data_dir)
    make_data_directory(data)
    country = CountryLookup(settings, log)
    stats = WorkerStats()
    stop = _Stop(supervised=start.supervised)
    try:
        commit_queue = await _open_commit_queue(data, writer, settings, log, stop.fail, stats)
    except WriterAlive:
        log.error("writer_alive", writer=writer, reason=f"{data.active(writer)} is open in another process")
        return exit_codes.TRY_AGAIN
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, commit_queue.request_seal)
    worker = WorkerContext(
        settings=settings,
        data=data,
        log=log,
        commit_queue=commit_queue,
        stats=stats,
        country=country,
        doctor_command=start.doctor,
        rate_table=start.rate_table,
    )
    try:
        await _serve_requests(worker, writer, start, stop)
    finally:
        await commit_queue.close()  # commits and seals
        await worker.reader.close()
        log.info("worker_stopped", writer=writer)
    return stop.exit_code


async def _serve_requests(worker: WorkerContext, writer: str, start: Start, stop: _Stop) -> None:
    """Accept and answer requests until the stop, then drain."""
    settings, log = worker.settings, worker.log
    limit = connection_limit(settings)
    by_address = connections_by_address(settings, limit, worker.proxies.is_trusted)
    handle = dispatch(worker, [*ROUTES, *routes_by_settings(settings)])
    server = Server(handle, limit, settings.keep_alive, worker.stats, by_address)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        async with background_tasks(worker, server, writer):
            addresses = await _listen(runner, settings, start.sockets)
            log.info("worker_listening", writer=writer, address=addresses, inherited=bool(start.sockets))
            start.notifier.ready(f"writer {writer} accepts events on {addresses}")
            async with heartbeat(start.notifier):
                await stop.wait()
                start.notifier.stopping()
                await drain(worker, server, runner, GRACE_S if stop.exit_code == exit_codes.SUCCESS else 0)
    except OSError as error:
        log.error("worker_not_listening", address=format_address(*settings.listen), reason=error.strerror)
        stop.exit_code = exit_codes.TRY_AGAIN if error.errno == errno.EADDRINUSE else exit_codes.USAGE
    finally:
        await runner.cleanup()


async def _listen(runner: web.ServerRunner, settings: Settings, inherited: Sequence[socket.socket]) -> str:
    """Start accepting. Returns the addresses for the log. Raises OSError."""
    host, port = settings.listen
    sites: list[web.BaseSite] = [web.SockSite(runner, each, backlog=BACKLOG) for each in inherited]
    for site in sites or [web.TCPSite(runner, host, port, reuse_port=True, backlog=BACKLOG)]:
        await site.start()
    return ", ".join([format_address(*address[:2]) for address in runner.addresses])


async def _open_commit_queue(
    data: DataDirectory, writer: str, settings: Settings, log: Log, fail: Callable[[], None], stats: WorkerStats
) -> CommitQueue:
    """Open the writer's segment.

    Waits up to LOCK_TIMEOUT_S for a predecessor that is still sealing, or for the
    compactor's recovery. Raises WriterAlive after that.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return CommitQueue(data, writer, settings, log, fail, stats)
        except WriterAlive:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
