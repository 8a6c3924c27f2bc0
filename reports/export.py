"""The archived events as a stream: NDJSON and CSV in batches of rows, Parquet as DuckDB
writes it. Memory is bounded, however long the time range.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import duckdb
import orjson

from reports.csv_text import encode_csv
from reports.encode import RAW_CSV
from reports.plan import EventsRead, events_read
from reports.query import Query
from reports.report import OpenParts, Source, execute, source_of
from reports.sql.duckdb import (
    Place,
    ends_statement,
    events_statement,
    parquet_copy,
    piece_statement,
    pieces_statement,
    size_statement,
)
from reports.sql.statement import Statement
from shared.control_chars import escape_control_chars
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill, spill_max_bytes
from shared.duckdb_engine import connect, limit_spill
from shared.generations.snapshot import Snapshot
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.memory import SORTED_SHARE

_BATCH_ROWS = 250


class Output(Protocol):
    """Where an export goes, in order."""

    def write(self, content: bytes, /) -> int: ...


class Room(NamedTuple):
    """The database of an export, with what it may use: bytes of memory, and a directory
    for at most `spill_bytes`.
    """

    database: duckdb.DuckDBPyConnection
    memory_bytes: int
    spill: Path
    spill_bytes: int


@contextmanager
def room_for_export(data: DataDirectory, memory_bytes: int, disk_reserve: int) -> Iterator[Room]:
    with own_spill(data) as spill, closing(connect(memory_bytes, 1, spill)) as database:
        spill_bytes = spill_max_bytes(data, disk_reserve)
        limit_spill(database, spill_bytes)
        yield Room(database, memory_bytes, spill, spill_bytes)


def export(room: Room, data: DataDirectory, snapshot: Snapshot, query: Query, format_: str, out: Output) -> None:
    """As `export_of`, of a snapshot of this directory."""
    export_of(room, source_of(data, snapshot, query), query, format_, out)


def export_of(room: Room, source: Source, query: Query, format_: str, out: Output) -> None:
    """Write the events of the query's time to `out`, in order of time.

    Raises PartDamaged, OutOfMemoryException, and duckdb.IOException for a part that is
    gone, before anything is written: all parts are read before the first event is in
    its place.
    """
    days, open_parts = source.days, source.open_parts
    if _size(room, open_parts, events_read(query, days)) <= room.memory_bytes // SORTED_SHARE:
        events = events_statement(events_read(query, days))
    else:
        reads = {day: events_read(query, list(same)) for day, same in groupby(days, lambda each: each.day)}
        events = pieces_statement(
            [path for day, read in reads.items() if read.parts for path in _pieces(room, open_parts, day, read)]
        )
    if format_ == "parquet":
        _export_parquet(room, open_parts, events, out)
        return
    columns = list(ARCHIVE_COLUMNS)
    result = execute(room.database, open_parts, events)
    is_csv, raw = format_ in ("csv", RAW_CSV), format_ == RAW_CSV
    if is_csv:
        out.write(encode_csv(columns, []).encode("utf-8"))
    for rows in _batches(result):
        if is_csv:
            out.write(encode_csv(columns, rows, header=False, raw=raw).encode("utf-8"))
        else:
            out.write(escape_control_chars(b"".join(orjson.dumps(_without_absent(row)) + b"\n" for row in rows)))


def _size(room: Room, open_parts: OpenParts, read: EventsRead) -> int:
    (size,) = execute(room.database, open_parts, size_statement(read)).fetchall()[0]
    return int(size)


def _pieces(room: Room, open_parts: OpenParts, day: date, read: EventsRead) -> Iterator[Path]:
    """Write the events of one day to files, in order. Each is sorted in memory: DuckDB
    spills the rows of a sort only where they are short.
    """
    after: Place | None = None
    ends = execute(room.database, open_parts, ends_statement(read, room.memory_bytes // SORTED_SHARE)).fetchall()
    for number, end in enumerate(ends):
        path = room.spill / f"piece-{day}-{number}.parquet"
        last = Place(*end)
        execute(room.database, open_parts, parquet_copy(piece_statement(read, after, last), str(path)))
        _check_spill(room)
        yield path
        after = last


def _check_spill(room: Room) -> None:
    """DuckDB bounds only what it spills itself. Raises OutOfMemoryException."""
    if sum(path.stat().st_size for path in room.spill.iterdir()) > room.spill_bytes:
        raise duckdb.OutOfMemoryException("the export needs more than half of what is free on the disk")


def _export_parquet(room: Room, open_parts: OpenParts, events: Statement, out: Output) -> None:
    """Through a temporary file: Parquet ends with an index of the whole, and `out` may
    be a socket, which has no path.
    """
    path = room.spill / "export.parquet"
    execute(room.database, open_parts, parquet_copy(events, str(path)))
    with path.open("rb") as file:
        shutil.copyfileobj(file, out)


def _batches(result: duckdb.DuckDBPyConnection) -> Iterator[list[dict[str, object]]]:
    while rows := result.fetchmany(_BATCH_ROWS):
        yield [{name: _json_value(value) for name, value in zip(ARCHIVE_COLUMNS, row, strict=True)} for row in rows]


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    return value


def _without_absent(row: dict[str, object]) -> dict[str, object]:
    present = {name: value for name, value in row.items() if value is not None}
    if isinstance(props := present.get("props"), str):
        present["props"] = orjson.Fragment(props)
    return present
