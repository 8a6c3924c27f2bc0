"""The process that reads: reports one after another on its standard input and output,
or one export as a stream.

It has its own bounded memory and a lower priority, so that a heavy question cannot hold
up a worker that takes events; it ends when its input does, so it cannot outlive that
worker.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import msgspec

from reports import encode
from reports.export import export
from reports.query import QueryError, parse
from reports.reader.protocol import EXIT_DAMAGED, EXIT_SWEPT, Answer, Question
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
    decoder = msgspec.json.Decoder(Question)
    for line in sys.stdin.buffer:
        question = decoder.decode(line)
        if question.kind == "export":
            sys.exit(stream_export(question, sys.stdout.buffer))
        answer, content = answer_report(question)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n" + content)
        sys.stdout.buffer.flush()


def answer_report(question: Question) -> tuple[Answer, bytes]:
    """A report, or why there is none."""
    try:
        content = encode.encode_report(report(question), question.format)
    except QueryError as error:
        return Answer("query", str(error), 0), b""
    except (SnapshotDamaged, DataFromNewerVersion) as error:
        return Answer("snapshot", str(error), 0), b""
    except PartDamaged as error:
        return Answer("part", str(error), 0), b""
    except PartsReplaced as error:
        return Answer("report_failed", str(error), 0), b""
    except duckdb.OutOfMemoryException:
        return Answer("report_memory", "the report needs more memory than FOLDLOG_REPORT_MEMORY; ask for less", 0), b""
    return Answer("", "", len(content)), content


def report(question: Question) -> dict[str, Any]:
    """Ask the snapshot that is published now."""
    data = DataDirectory(Path(question.data_dir))
    query = parse(question.parameters, question.now, question.timezone)
    return read_published(data, lambda snapshot: make_report(_database(question.memory_bytes), data, snapshot, query))


@cache
def _database(memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """One for all reports: to open and close an engine takes as long as a small one. It
    keeps nothing of what it answered.
    """
    return connect(memory_bytes, THREADS)


def stream_export(question: Question, out: BinaryIO) -> int:
    """Write an export to `out`; returns the exit code. The query was checked before
    this process was started.
    """
    data = DataDirectory(Path(question.data_dir))
    query = parse(question.parameters, question.now, question.timezone)
    with (
        tempfile.TemporaryDirectory(prefix="foldlog-export-") as spill,
        contextlib.closing(connect(question.memory_bytes, 1, Path(spill))) as database,
    ):
        try:
            read_published(data, lambda snapshot: export(database, data, snapshot, query, question.format, out))
        except PartDamaged as error:
            print(error, file=sys.stderr)  # noqa: T201
            return EXIT_DAMAGED
        except PartsReplaced as error:
            print(error, file=sys.stderr)  # noqa: T201
            return EXIT_SWEPT
    out.flush()
    return 0


if __name__ == "__main__":
    main()
