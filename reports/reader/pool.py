"""The reader processes of a worker: the first is started for the first report, another
when all are busy, so that a slow question does not hold up a quick one. Each ends when
it is idle. An export has one of its own, which ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reports.reader import handle
from reports.reader.handle import Reader, ReportError
from reports.reader.protocol import ReaderResponse
from reports.reader.slots import ReaderSlots
from reports.reader.turns import AT_ONCE, Turns
from shared.disk.layout import DataDirectory
from shared.disk.spill import sweep_spill


class ReaderPool:
    """As many processes as there are turns, and at most AT_ONCE idle ones, for
    `idle_timeout_s`.
    """

    def __init__(self, data: DataDirectory, slots: ReaderSlots, report_timeout_s: float, idle_timeout_s: float) -> None:
        self._data = data
        self._report_timeout_s = report_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._turns = Turns(slots)
        self._readers: set[Reader] = set()
        self._idle: dict[Reader, asyncio.TimerHandle] = {}  # the one that answered last is the last
        self._ending: set[asyncio.Task[None]] = set()

    async def answer(self, request: bytes, owner: bytes = b"") -> tuple[ReaderResponse, bytes]:
        """Raises ReportError. A process whose response was not read to its end is
        killed: the next request cannot get it, and nobody waits for it.
        """
        async with self._turns.of_report(owner):
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

    @asynccontextmanager
    async def own_reader(self, owner: bytes = b"") -> AsyncIterator[Reader]:
        """A process for one export. When the block ends, in whatever way, it is killed
        and its files are deleted. Raises ReportError.
        """
        async with self._turns.of_export(owner):
            reader = await self._start()
            try:
                yield reader
            finally:
                await self._end(reader)

    async def close(self) -> None:
        """End the processes, also in the middle of a report. When this returns there is
        none, and what asks or still waits is refused.
        """
        self._turns.close()
        for reader in list(self._idle):
            self._end_idle(reader)
        for reader in self._readers:
            if reader.returncode is None:
                reader.kill()  # and what waits for its response ends it
        await self._turns.wait_until_over()
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
        return await self._start()

    async def _start(self) -> Reader:
        """Raises ReportError once the pool is closed."""
        if not self._turns.is_closed():
            reader = await handle.start()
            self._readers.add(reader)
            if not self._turns.is_closed():
                return reader
            await self._end(reader)  # it was closed meanwhile
        raise ReportError("report_failed", "the server stops; ask again")

    def _keep(self, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        self._idle[reader] = loop.call_later(self._idle_timeout_s, self._end_idle, reader)
        if self._turns.is_closed() or len(self._idle) > AT_ONCE:
            self._end_idle(next(iter(self._idle)))

    def _end_idle(self, reader: Reader) -> None:
        self._idle.pop(reader).cancel()
        self._ending_of(reader)

    async def _end(self, reader: Reader) -> None:
        """Also if what waits for it is cancelled meanwhile."""
        await asyncio.shield(self._ending_of(reader))

    def _ending_of(self, reader: Reader) -> asyncio.Task[None]:
        if reader.returncode is None:
            reader.kill()
        task = asyncio.ensure_future(self._remove(reader))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _remove(self, reader: Reader) -> None:
        """A process that is killed removes no files, and they hold events."""
        await handle.kill(reader)
        self._readers.discard(reader)
        await asyncio.to_thread(sweep_spill, self._data)
