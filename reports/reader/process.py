"""The reader process: it answers reports one after another on its standard input and
output, or writes one export.

Its memory is bounded and its priority low, so that a heavy report cannot delay the
worker that takes events. It ends when its input does, so it does not outlive that
worker.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO

import duckdb
import msgspec

from reports.encode import encode_report
from reports.query import QueryError, parse
from reports.reader.protocol import ReaderRequest, ReaderResponse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill, spill_max_bytes
from shared.duckdb_engine import connect, limit_spill
from shared.generations.consistent_read import PartsReplaced, read_published
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import SnapshotDamaged
from shared.segments.line import DataFromNewerVersion

NICENESS = 19
THREADS = 2


def main() -> None:
    os.nice(NICENESS)
    decoder = msgspec.json.Decoder(ReaderRequest)
    for line in sys.stdin.buffer:
        request = decoder.decode(line)
        if request.kind == "export":
            sys.exit(write_export(request, sys.stdout.buffer))
        response, content = answer_report(request)
        sys.stdout.buffer.write(msgspec.json.encode(response) + b"\n" + content)
        sys.stdout.buffer.flush()


def answer_report(request: ReaderRequest) -> tuple[ReaderResponse, bytes]:
    """The encoded report of the published snapshot, or why there is none."""
    return _answer(lambda: _report(request))


def write_export(request: ReaderRequest, out: BinaryIO) -> int:
    """Write the response, then the export. Returns the exit code: 1 when the export
    had to end early.
    """
    events = _AfterResponse(out)
    response, _ = _answer(lambda: _export(request, events))
    if events.began and response.code:
        print(response.detail, file=sys.stderr)  # noqa: T201
        return 1
    events.begin(response)
    out.flush()
    return 0


class _AfterResponse:
    """Writes the response before the first byte of an export: until then, an error can
    still be the response.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.began = False

    def begin(self, response: ReaderResponse) -> None:
        """Write the response, unless that is done."""
        if not self.began:
            self.began = True
            self._out.write(msgspec.json.encode(response) + b"\n")

    def write(self, content: bytes, /) -> int:
        self.begin(ReaderResponse("", "", 0))
        return self._out.write(content)


def _answer(make: Callable[[], bytes]) -> tuple[ReaderResponse, bytes]:
    try:
        content = make()
    except QueryError as error:
        return ReaderResponse("query", str(error), 0), b""
    except (SnapshotDamaged, DataFromNewerVersion) as error:
        return ReaderResponse("snapshot", str(error), 0), b""
    except PartDamaged as error:
        return ReaderResponse("part", str(error), 0), b""
    except PartsReplaced as error:
        return ReaderResponse("report_failed", str(error), 0), b""
    except duckdb.OutOfMemoryException:
        detail = "the report needs more than FOLDLOG_REPORT_MEMORY and the free disk; ask for less"
        return ReaderResponse("report_memory", detail, 0), b""
    return ReaderResponse("", "", len(content)), content


def _export(request: ReaderRequest, out: _AfterResponse) -> bytes:
    """Writes the export to `out`; nothing is left to answer."""
    from reports.export import export, room_for_export  # only an export pays for it

    data = DataDirectory(Path(request.data_dir))
    query = parse(request.parameters, request.now, request.timezone)
    with room_for_export(data, request.memory_bytes, request.disk_reserve) as room:
        read_published(data, lambda snapshot: export(room, data, snapshot, query, request.format, out))
    return b""


def _report(request: ReaderRequest) -> bytes:
    data = DataDirectory(Path(request.data_dir))
    query = parse(request.parameters, request.now, request.timezone)
    database = _database(data, request.memory_bytes)
    limit_spill(database, spill_max_bytes(data, request.disk_reserve))
    return encode_report(
        read_published(data, lambda snapshot: make_report(database, data, snapshot, query)), request.format
    )


@cache
def _database(data: DataDirectory, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """One for all reports, because opening and closing an engine costs as much as a
    small report. It keeps no data between them.
    """
    closing = contextlib.ExitStack()
    atexit.register(closing.close)
    spill = closing.enter_context(own_spill(data))
    return closing.enter_context(contextlib.closing(connect(memory_bytes, THREADS, spill)))


if __name__ == "__main__":
    main()
