"""The archived events, streamed: NDJSON and CSV row by row, Parquet as DuckDB writes
it. Bounded memory, any range.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import duckdb
import orjson

from reports.encode import encode_csv
from reports.query import Query
from reports.report import touched
from shared.control_chars import escape_control_chars
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql

_ROWS = 2000


def export(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    snapshot: Snapshot,
    query: Query,
    format_: str,
    out: BinaryIO,
) -> None:
    """Write the events of the query's time to `out`, in order of time.

    What is missing of the parts is found before anything is written: they are all read
    before the first event is in its place.
    """
    archive = touched(snapshot, data, query).archive
    source = from_archive_sql("read_parquet($archive)") if archive else empty_relation_sql(ARCHIVE_COLUMNS)
    sql = f"SELECT {', '.join(ARCHIVE_COLUMNS)} FROM {source} WHERE time >= $start AND time < $end ORDER BY time, site, id"
    values: dict[str, object] = {
        "start": query.start.astimezone(UTC).replace(tzinfo=None),
        "end": query.end.astimezone(UTC).replace(tzinfo=None),
    } | ({"archive": archive} if archive else {})
    if format_ == "parquet":
        _export_parquet(database, sql, values, out)
        return
    columns = list(ARCHIVE_COLUMNS)
    result = database.execute(sql, values)
    if format_ == "csv":
        out.write(encode_csv(columns, []).encode("utf-8"))
    for rows in _batches(result):
        if format_ == "csv":
            out.write(encode_csv(columns, rows, header=False).encode("utf-8"))
        else:
            out.write(escape_control_chars(b"".join(orjson.dumps(_without_absent(row)) + b"\n" for row in rows)))


def _export_parquet(database: duckdb.DuckDBPyConnection, sql: str, values: dict[str, object], out: BinaryIO) -> None:
    """By way of a temporary file: the format ends with an index of the whole, and `out`
    may be a socket, which has no name.
    """
    with tempfile.TemporaryDirectory(prefix="foldlog-export-") as directory:
        path = Path(directory, "export.parquet")
        database.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)", values)
        with path.open("rb") as file:
            shutil.copyfileobj(file, out)


def _batches(result: duckdb.DuckDBPyConnection) -> Iterator[list[dict[str, object]]]:
    while rows := result.fetchmany(_ROWS):
        yield [{name: _shown(value) for name, value in zip(ARCHIVE_COLUMNS, row, strict=True)} for row in rows]


def _shown(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    return value


def _without_absent(row: dict[str, object]) -> dict[str, object]:
    shown = {name: value for name, value in row.items() if value is not None}
    if isinstance(props := shown.get("props"), str):
        shown["props"] = orjson.Fragment(props)
    return shown
