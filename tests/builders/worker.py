"""A worker in this process: the real dispatch, server, context and log writer on a real
data directory, with an event loop in a thread of its own.

It starts in milliseconds, so tables of requests use it; `Server`
(tests/builders/server.py) is for promises about processes: signals, restarts, the
compactor. Requests arrive through a real socket. There is no supervisor and no
compactor, and nothing folds.

Leaving the block stops the worker as a SIGTERM does, and verifies its data directory.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import uvloop
from aiohttp import web

from compactor.lock import compactor_lock
from compactor.run_pass import run_pass
from ingest.collect.country import CountryLookup
from ingest.context import WorkerContext
from ingest.http.connection import Server as HttpServer
from ingest.http.drain import drain
from ingest.http.router import dispatch
from ingest.observe.background import background_tasks
from ingest.observe.doctor import DoctorCommand
from ingest.routes import ROUTES, routes_by_settings
from ingest.wal.commit_queue import CommitQueue
from shared.disk.control_files import request_seal
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.settings import load
from shared.timestamps import now_ms
from shared.worker_stats import WorkerStats
from tests.builders.server import HttpClient, decode_line, environment, verify
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S, until

WRITER = "0"


class Worker(HttpClient):
    """One worker on a port of its own, with its data in `directory`/data.

    `settings` are named as in shared/settings.py. `log` keeps what the worker logged.
    """

    def __init__(self, directory: Path, **settings: object) -> None:
        self.data = DataDirectory(directory / "data")
        # Its one segment is not sealed before the end, so that `appended` can read it.
        self.environ = environment(self.data.root, **({"segment_max_age": "1d"} | settings))
        self.settings = load(self.environ)
        self.doctor = DoctorCommand((), self.environ)
        self.log = SilentLog()
        self.stats = WorkerStats()
        self.context: WorkerContext
        self.server: HttpServer
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def __enter__(self) -> Worker:
        self._thread.start()
        assert self._started.wait(TIMEOUT_S), "the worker did not start"
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(TIMEOUT_S)
        if kind is not None:
            return
        if self._error is not None:
            raise self._error
        assert not self._thread.is_alive(), "the worker did not stop"
        assert "request_failed" not in self.log.events(), self.log.entries
        verify(self.data, self.environ)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  raised again in the test's thread
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        make_data_directory(self.data)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        writer = CommitQueue(self.data, WRITER, self.settings, self.log, stats=self.stats)
        self.context = WorkerContext(
            doctor_command=self.doctor,
            settings=self.settings,
            data=self.data,
            log=self.log,
            commit_queue=writer,
            stats=self.stats,
            country=CountryLookup(self.settings, self.log),
        )
        settings = self.settings
        handle = dispatch(self.context, [*ROUTES, *routes_by_settings(settings)])
        self.server = HttpServer(handle, settings.max_connections, settings.keep_alive, self.stats)
        runner = web.ServerRunner(self.server)
        await runner.setup()
        try:
            async with background_tasks(self.context, self.server, WRITER):
                await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
                self.port = runner.addresses[0][1]
                self._started.set()
                await self._stop.wait()
                await drain(self.context, self.server, runner, grace_s=0)
        finally:
            await runner.cleanup()
            await writer.close()
            await self.context.reader.close()

    def fold(self) -> int:
        """Seal, and fold in this process. Returns the generation."""
        until(request_seal(self.data))
        with compactor_lock(self.data) as lock:
            run_pass(self.data, self.settings, self.log, lock, now_ms())
        return load_snapshot(self.data).generation

    def position(self) -> int:
        """The end of the log, in bytes of the active segment."""
        return self.data.active(WRITER).stat().st_size

    def appended(self, since: int) -> list[dict[str, Any]]:
        """The lines written since this position, decoded; each with a good CRC."""
        with self.data.active(WRITER).open("rb") as segment:
            segment.seek(since)
            return [decode_line(line) for line in segment]
