"""One reader process as its worker sees it: start it, ask it, read an export from it,
end it.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from reports.reader.environment import reader_environment
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


async def start() -> Reader:
    """A reader process, which knows no secret of the settings."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "reports.reader.process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_STREAM_LIMIT,
        env=reader_environment(os.environ),
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


async def begin_export(reader: Reader, request: bytes) -> None:
    """Ask for an export, and wait for its first byte. Raises ReportError."""
    try:
        await _send(reader, request)
        response = _RESPONSE.decode(await _stdout(reader).readuntil(b"\n"))
    except (asyncio.IncompleteReadError, OSError):
        raise ReportError("report_failed", "the export failed; the log says why") from None
    if response.code:
        raise ReportError(response.code, response.detail)


async def read_block(reader: Reader) -> bytes:
    """The next block of an export, empty at its end. Raises ConnectionAbortedError for
    one that is not whole.
    """
    block = await _stdout(reader).read(_BLOCK)
    if not block and await reader.wait() != 0:
        raise ConnectionAbortedError("the export failed")
    return block


async def _send(reader: Reader, request: bytes) -> None:
    if reader.stdin is None:
        raise AssertionError("it is a pipe")
    reader.stdin.write(request)
    await reader.stdin.drain()


def _stdout(reader: Reader) -> asyncio.StreamReader:
    if reader.stdout is None:
        raise AssertionError("it is a pipe")
    return reader.stdout
