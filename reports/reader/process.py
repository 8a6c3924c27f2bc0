"""The reader process: it answers reports one after another on its standard input and
output, or writes one export.

Its memory is bounded and its priority low, so that a heavy report cannot delay the
worker that takes events. It ends when its input does, so it does not outlive that
worker.
"""

from __future__ import annotations

import contextlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import BinaryIO

import duckdb
import msgspec

from reports.encode import encode_report
from reports.query import QueryError, parse
from reports.reader.protocol import EXIT_DAMAGED, EXIT_REPLACED, ReaderRequest, ReaderResponse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
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
    try:
        content = _report(request)
    except QueryError as error:
        return ReaderResponse("query", str(error), 0), b""
    except (SnapshotDamaged, DataFromNewerVersion) as error:
        return ReaderResponse("snapshot", str(error), 0), b""
    except PartDamaged as error:
        return ReaderResponse("part", str(error), 0), b""
    except PartsReplaced as error:
        return ReaderResponse("report_failed", str(error), 0), b""
    except duckdb.OutOfMemoryException:
        detail = "the report needs more memory than FOLDLOG_REPORT_MEMORY; ask for less"
        return ReaderResponse("report_memory", detail, 0), b""
    return ReaderResponse("", "", len(content)), content


def write_export(request: ReaderRequest, out: BinaryIO) -> int:
    """Returns the exit code. The parameters must have been validated."""
    import tempfile

    from reports.export import export  # only an export pays for it

    data = DataDirectory(Path(request.data_dir))
    query = parse(request.parameters, request.now, request.timezone)
    with (
        tempfile.TemporaryDirectory(prefix="foldlog-export-") as spill,
        contextlib.closing(connect(request.memory_bytes, 1, Path(spill))) as database,
    ):
        try:
            read_published(data, lambda snapshot: export(database, data, snapshot, query, request.format, out))
        except PartDamaged as error:
            print(error, file=sys.stderr)  # noqa: T201
            return EXIT_DAMAGED
        except PartsReplaced as error:
            print(error, file=sys.stderr)  # noqa: T201
            return EXIT_REPLACED
    out.flush()
    return 0


def _report(request: ReaderRequest) -> bytes:
    data = DataDirectory(Path(request.data_dir))
    query = parse(request.parameters, request.now, request.timezone)
    database = _database(request.memory_bytes)
    return encode_report(
        read_published(data, lambda snapshot: make_report(database, data, snapshot, query)), request.format
    )


@cache
def _database(memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """One for all reports, because opening and closing an engine costs as much as a
    small report. It keeps no data between them.
    """
    return connect(memory_bytes, THREADS)


if __name__ == "__main__":
    main()
