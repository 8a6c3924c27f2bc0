"""A worker's side of the reader process: start it for the first report, send it one
request at a time, replace it when it hangs, end it when it is idle.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from reports.query import QueryError, parse
from reports.reader.cache import AnswerCache
from reports.reader.protocol import EXIT_DAMAGED, ReaderRequest, ReaderResponse
from shared.disk.layout import DataDirectory
from shared.settings import Settings

# The process takes some 86 MiB once it has answered a report, and a part of a second to
# start.
IDLE_TIMEOUT_S = 60.0
_STREAM_LIMIT = 1 << 20
_BLOCK = 1 << 16
_RESPONSE = msgspec.json.Decoder(ReaderResponse)


class ReportError(Exception):
    """There is no report. `code` is one of docs/api.md, `detail` the reason for the
    client.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ReaderClient:
    """Reports and exports from a process of their own. Both raise ReportError."""

    def __init__(self, settings: Settings, idle_timeout_s: float = IDLE_TIMEOUT_S) -> None:
        self._settings = settings
        self._idle_timeout_s = idle_timeout_s
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._cache = AnswerCache(DataDirectory(settings.data_dir))

    async def report(self, parameters: Mapping[str, str], format_: str) -> bytes:
        """The encoded report."""
        now = datetime.now(UTC)
        try:
            query = parse(parameters, now, self._settings.timezone)
        except QueryError as error:
            raise ReportError("query", str(error)) from None
        if (cached := self._cache.get(query, format_)) is not None:
            return cached
        async with self._turn:
            # A request that waited for the turn may have asked the same.
            if (cached := self._cache.get(query, format_)) is not None:
                return cached
            snapshot = self._cache.published()
            response, content = await self._send(self._request("report", parameters, format_, now))
        if response.code:
            raise ReportError(response.code, response.detail)
        self._cache.put(query, format_, content, snapshot)
        return content

    async def export(self, parameters: Mapping[str, str], format_: str) -> AsyncIterator[bytes]:
        """The export in blocks. The parameters must have been validated.

        Raises ReportError before the first block, ConnectionAbortedError after it.
        """
        # A process that is killed removes no files, and they hold events: this process
        # removes them.
        with tempfile.TemporaryDirectory(prefix="foldlog-export-") as directory:
            process = await _start(directory)
            try:
                async for block in _stream(process, self._request("export", parameters, format_, datetime.now(UTC))):
                    yield block
            finally:
                await _kill(process)

    async def close(self) -> None:
        """End the process, also in the middle of a report."""
        self._stop_idle_timer()
        process, self._process = self._process, None
        if process is not None:
            await _kill(process)

    def _request(
        self, kind: Literal["report", "export"], parameters: Mapping[str, str], format_: str, now: datetime
    ) -> bytes:
        settings = self._settings
        request = ReaderRequest(
            kind, str(settings.data_dir), settings.timezone, settings.report_memory, format_, dict(parameters), now
        )
        return msgspec.json.encode(request) + b"\n"

    async def _send(self, request: bytes) -> tuple[ReaderResponse, bytes]:
        """A process whose response was not read to its end is killed, so that the next
        request cannot get it.
        """
        self._stop_idle_timer()
        try:
            response = await asyncio.wait_for(self._exchange(request), self._settings.report_timeout)
        except TimeoutError:
            await self.close()
            raise ReportError("report_timeout", "the report took too long; ask for less") from None
        except (asyncio.IncompleteReadError, OSError):
            await self.close()
            raise ReportError("report_failed", "the report failed; the log says why") from None
        except asyncio.CancelledError:
            await self.close()
            raise
        self._idle_timer = asyncio.get_running_loop().call_later(self._idle_timeout_s, self._close_idle)
        return response

    async def _exchange(self, request: bytes) -> tuple[ReaderResponse, bytes]:
        if self._process is None or self._process.returncode is not None:
            self._process = await _start()
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("both are pipes")
        stdin.write(request)
        await stdin.drain()
        response = _RESPONSE.decode(await stdout.readuntil(b"\n"))
        return response, await stdout.readexactly(response.bytes)

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _close_idle(self) -> None:
        self._closing = asyncio.ensure_future(self.close())


async def _start(directory: str | None = None) -> asyncio.subprocess.Process:
    """A reader process; `directory` is for its temporary files."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "reports.reader.process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_STREAM_LIMIT,
        env=os.environ | {"TMPDIR": directory} if directory else None,
    )


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _stream(process: asyncio.subprocess.Process, request: bytes) -> AsyncIterator[bytes]:
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    process.stdin.write(request)
    await process.stdin.drain()
    began = False
    while block := await process.stdout.read(_BLOCK):
        began = True
        yield block
    if (code := await process.wait()) == EXIT_DAMAGED:
        raise ReportError("part", "a part is damaged; `foldlog verify` says which, and what to do")
    if code != 0 and not began:
        raise ReportError("report_failed", "the export failed; the log says why")
    if code != 0:
        raise ConnectionAbortedError("the export failed")
