"""The reader process: it answers reports one after another on its standard input and
output, or writes one export.

Its memory is bounded and its priority low, so that a heavy report cannot delay the
worker that takes events. It ends with that worker, also in the middle of a question.
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

from reports.batch import answer_of
from reports.cluster.cannot_answer import CannotAnswer
from reports.cluster.cluster_store import ClusterStore
from reports.encode import PARQUET, encode_report
from reports.hosts.asked import Asked, TimezonesDiffer, asks_all_hosts, require_parts
from reports.hosts.hosts_store import HostsMoved, HostsStore, hosts_store
from reports.hosts.part_cache import NoRoomForParts
from reports.hosts.stored_parts import StoredPartMissing
from reports.kinds import parse_question
from reports.parquet_rows import encode_parquet
from reports.query import parse
from reports.query_error import QueryError
from reports.reader.environment import adopt
from reports.reader.protocol import ReaderRequest, ReaderResponse
from reports.reader.worker_watch import end_with_worker
from reports.report import source_of
from reports.rows import Row
from shared.control_chars import escape_controls
from shared.core_dumps import forbid_core_dumps
from shared.disk.layout import DataDirectory
from shared.disk.spill import NoScratch, own_spill, spill_max_bytes
from shared.duckdb_engine import connect, keep_free, limit_spill
from shared.generations.consistent_read import PartsReplaced, read_published
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import SnapshotDamaged
from shared.segments.line import DataFromNewerVersion
from shared.stores.address import is_clickhouse
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.connection import DriverMissing

STORE_UNAVAILABLE = "the store could not be read; the log says why. Ask again, or with scope=host for this host alone"
NICENESS = 19
THREADS = 2


def main() -> None:
    forbid_core_dumps()
    os.nice(NICENESS)
    end_with_worker()
    decoder = msgspec.json.Decoder(ReaderRequest)
    for line in sys.stdin.buffer:
        request = decoder.decode(line)
        adopt(request.environ)
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
        print(escape_controls(response.detail), file=sys.stderr)  # noqa: T201
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
    except (PartDamaged, StoredPartMissing) as error:
        return ReaderResponse("part", str(error), 0), b""
    except TimezonesDiffer as error:
        return ReaderResponse("timezones", str(error), 0), b""
    except CannotAnswer as error:
        print(escape_controls(str(error)), file=sys.stderr)  # noqa: T201
        return ReaderResponse("store_unavailable", error.detail, 0), b""
    except (StoreUnavailable, StoreRefused, DriverMissing) as error:
        print(escape_controls(str(error)), file=sys.stderr)  # noqa: T201  its address is for the log only
        return ReaderResponse("store_unavailable", STORE_UNAVAILABLE, 0), b""
    except NoRoomForParts as error:
        return ReaderResponse("report_memory", str(error), 0), b""
    except (PartsReplaced, HostsMoved, NoScratch) as error:
        return ReaderResponse("report_failed", str(error), 0), b""
    except duckdb.OutOfMemoryException:
        detail = "the report needs more than FOLDLOG_REPORT_MEMORY and the free disk; ask for less"
        return ReaderResponse("report_memory", detail, 0), b""
    return ReaderResponse("", "", len(content)), content


def _export(request: ReaderRequest, out: _AfterResponse) -> bytes:
    """Writes the export to `out`; nothing is left to answer."""
    from reports.export import export, export_of, room_for_export  # only an export pays for it

    data = DataDirectory(Path(request.data_dir))
    query = parse(request.parameters, request.now, request.timezone)
    with room_for_export(data, request.memory_bytes, request.disk_reserve) as room:
        if asks_all_hosts(query, request.store):
            require_parts(request.store)
            asked = Asked(query, request.timezone)
            _hosts(data, request).read(asked, lambda source: export_of(room, source, query, request.format, out))
            return b""
        read_published(data, lambda snapshot: export(room, data, snapshot, query, request.format, out))
    return b""


def _report(request: ReaderRequest) -> bytes:
    data = DataDirectory(Path(request.data_dir))
    query = parse_question(request.parameters, request.now, request.timezone)
    asked = Asked(query, request.timezone)
    over_hosts = asks_all_hosts(query, request.store)
    if over_hosts and is_clickhouse(request.store):
        return _encoded(request, data, _cluster_store(data, request.store).answer(asked))
    database = _bounded_database(request, data)
    room_bytes = spill_max_bytes(data, request.disk_reserve) // 2
    if over_hosts:
        report = _hosts(data, request).read(asked, lambda source: answer_of(database, source, query, room_bytes))
    else:
        report = read_published(
            data, lambda snapshot: answer_of(database, source_of(data, snapshot, query), query, room_bytes)
        )
    return _encoded(request, data, report)


def _encoded(request: ReaderRequest, data: DataDirectory, report: Row) -> bytes:
    if request.format == PARQUET:
        return encode_parquet(_bounded_database(request, data), report)
    return encode_report(report, request.format)


def _bounded_database(request: ReaderRequest, data: DataDirectory) -> duckdb.DuckDBPyConnection:
    database = _database(data, request.memory_bytes)
    limit_spill(database, spill_max_bytes(data, request.disk_reserve))
    keep_free(database, request.disk_reserve)
    return database


def _hosts(data: DataDirectory, request: ReaderRequest) -> HostsStore:
    return _hosts_store(data, request.store, request.store_cache, request.disk_reserve)


@cache
def _hosts_store(data: DataDirectory, address: str, cache_bytes: int, disk_reserve: int) -> HostsStore:
    """One for all reports: it remembers the snapshots of the hosts."""
    closing = contextlib.ExitStack()
    atexit.register(closing.close)
    return closing.enter_context(hosts_store(data, address, cache_bytes, disk_reserve))


@cache
def _cluster_store(data: DataDirectory, address: str) -> ClusterStore:
    """One for all reports: it remembers what the server's version can."""
    return ClusterStore(data, address)


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
