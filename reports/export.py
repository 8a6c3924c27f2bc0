"""The archived events as a stream: NDJSON and CSV in batches of rows, Parquet as DuckDB
writes it. Memory is bounded, however long the time range.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

import duckdb
import orjson

from reports.encode import encode_csv
from reports.plan import days_of, events_read
from reports.query import Query
from reports.report import execute
from reports.sql.duckdb import events_statement, parquet_copy
from reports.sql.statement import Statement
from shared.control_chars import escape_control_chars
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot
from shared.schema import ARCHIVE_COLUMNS

_BATCH_ROWS = 2000


class Output(Protocol):
    """Where an export goes, in order."""

    def write(self, content: bytes, /) -> int: ...


def export(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    query: Query,
    format_: str,
    out: Output,
) -> None:
    """Write the events of the query's time to `out`, in order of time.

    Raises PartDamaged, and duckdb.IOException for a part that is gone, before anything
    is written: all parts are read before the first event is in its place.
    """
    events = events_statement(events_read(query, days_of(snapshot, query)))
    if format_ == "parquet":
        _export_parquet(database, data, events, out)
        return
    columns = list(ARCHIVE_COLUMNS)
    result = execute(database, data, events)
    if format_ == "csv":
        out.write(encode_csv(columns, []).encode("utf-8"))
    for rows in _batches(result):
        if format_ == "csv":
            out.write(encode_csv(columns, rows, header=False).encode("utf-8"))
        else:
            out.write(escape_control_chars(b"".join(orjson.dumps(_without_absent(row)) + b"\n" for row in rows)))


def _export_parquet(database: duckdb.DuckDBPyConnection, data: DataDirectory, events: Statement, out: Output) -> None:
    """Through a temporary file: Parquet ends with an index of the whole, and `out` may
    be a socket, which has no path.
    """
    with tempfile.TemporaryDirectory(prefix="foldlog-export-") as directory:
        path = Path(directory, "export.parquet")
        execute(database, data, parquet_copy(events, str(path)))
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
