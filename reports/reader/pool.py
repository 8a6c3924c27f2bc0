"""The reader processes of a worker: the first is started for the first report, a second
when that one is busy, so that a slow question does not hold up a quick one. Each ends
when it is idle.
"""

from __future__ import annotations

import asyncio

from reports.reader import handle
from reports.reader.handle import Reader, ReportError
from reports.reader.protocol import ReaderResponse
from shared.disk.layout import DataDirectory
from shared.disk.spill import sweep_spill

READERS_MAX = 2


class ReaderPool:
    """At most READERS_MAX processes; more questions wait for their turn, in order."""

    def __init__(self, data: DataDirectory, report_timeout_s: float, idle_timeout_s: float) -> None:
        self._data = data
        self._report_timeout_s = report_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._turns = asyncio.Semaphore(READERS_MAX)
        self._readers: set[Reader] = set()
        self._idle: dict[Reader, asyncio.TimerHandle] = {}  # the one that answered last is the last
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()

    async def answer(self, request: bytes) -> tuple[ReaderResponse, bytes]:
        """Raises ReportError. A process whose response was not read to its end is
        killed: the next request cannot get it, and nobody waits for it.
        """
        async with self._turns:
            reader = await self._take()
            try:
                answered = await asyncio.wait_for(handle.answer(reader, request), self._report_timeout_s)
            except TimeoutError:
                await self._end(reader)
                raise ReportError("report_timeout", "the report took too long; ask for less") from None
            except (asyncio.IncompleteReadError, OSError):
                await self._end(reader)
                raise ReportError("report_failed", "the report failed; the log says why") from None
            except asyncio.CancelledError:
                await self._end(reader)
                raise
            self._keep(reader)
            return answered

    async def close(self) -> None:
        """End the processes, also in the middle of a report. When this returns there is
        none, and what asks or still waits is refused.
        """
        self._closed.set()
        for reader in list(self._idle):
            self._end_idle(reader)
        for reader in self._readers:
            if reader.returncode is None:
                reader.kill()  # and what waits for its response ends it
        # Free once nothing waits for them, and no process is starting or ending.
        for _ in range(READERS_MAX):
            await self._turns.acquire()
        for _ in range(READERS_MAX):
            self._turns.release()
        await asyncio.gather(*self._ending)

    async def _take(self) -> Reader:
        """The idle process that answered last, so that another stays idle and ends.
        Raises ReportError once the pool is closed.
        """
        while self._idle:
            reader, timer = self._idle.popitem()
            timer.cancel()
            if reader.returncode is None:
                return reader
            await self._end(reader)
        if not self._closed.is_set():
            reader = await handle.start()
            self._readers.add(reader)
            if not self._closed.is_set():
                return reader
            await self._end(reader)  # it was closed meanwhile
        raise ReportError("report_failed", "the server stops; ask again")

    def _keep(self, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        self._idle[reader] = loop.call_later(self._idle_timeout_s, self._end_idle, reader)
        if self._closed.is_set():
            self._end_idle(reader)

    def _end_idle(self, reader: Reader) -> None:
        self._idle.pop(reader).cancel()
        task = asyncio.ensure_future(self._end(reader))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, reader: Reader) -> None:
        """A process that is killed removes no files, and they hold events."""
        self._readers.discard(reader)
        await handle.kill(reader)
        await asyncio.to_thread(sweep_spill, self._data)
