"""One reader process as its worker sees it: start it, ask it, read an export from it,
end it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import msgspec

from reports.reader.protocol import ReaderResponse

_STREAM_LIMIT = 1 << 20
_BLOCK = 1 << 16
_RESPONSE = msgspec.json.Decoder(ReaderResponse)

Reader = asyncio.subprocess.Process


class ReportError(Exception):
    """There is no report. `code` is one of docs/api.md, `detail` the reason for the
    client.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


async def start(directory: str | None = None) -> Reader:
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


async def kill(reader: Reader) -> None:
    """End the process, unless it has ended, and close its pipes. What it wrote is read
    to the end: until then a pipe of which nothing more is read stays open.
    """
    if reader.returncode is None:
        reader.kill()
    await reader.communicate()


async def answer(reader: Reader, request: bytes) -> tuple[ReaderResponse, bytes]:
    """Send a request and read its response to the end.

    Raises asyncio.IncompleteReadError or OSError when the process ends before that.
    """
    await _send(reader, request)
    stdout = _stdout(reader)
    response = _RESPONSE.decode(await stdout.readuntil(b"\n"))
    return response, await stdout.readexactly(response.bytes)


async def stream(reader: Reader, request: bytes) -> AsyncIterator[bytes]:
    """The export in blocks. Raises ReportError before the first block,
    ConnectionAbortedError after it.
    """
    await _send(reader, request)
    stdout = _stdout(reader)
    try:
        response = _RESPONSE.decode(await stdout.readuntil(b"\n"))
    except asyncio.IncompleteReadError:
        raise ReportError("report_failed", "the export failed; the log says why") from None
    if response.code:
        raise ReportError(response.code, response.detail)
    while block := await stdout.read(_BLOCK):
        yield block
    if await reader.wait() != 0:
        raise ConnectionAbortedError("the export failed")


async def _send(reader: Reader, request: bytes) -> None:
    if reader.stdin is None:
        raise AssertionError("it is a pipe")
    reader.stdin.write(request)
    await reader.stdin.drain()


def _stdout(reader: Reader) -> asyncio.StreamReader:
    if reader.stdout is None:
        raise AssertionError("it is a pipe")
    return reader.stdout
