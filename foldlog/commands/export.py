"""`foldlog export`: the archived events on standard output."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from foldlog.arguments import query_parameters
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from reports.export import export
from reports.query import QueryError, parse
from shared.duckdb_engine import connect
from shared.exit_codes import SUCCESS
from shared.generations.consistent_read import read_published


def run(call: Invocation) -> int:
    query = parse(query_parameters(call.options), datetime.now(UTC), call.settings.timezone)
    format_, out = call.options.format, sys.stdout.buffer
    if format_ == "parquet" and sys.stdout.isatty():
        raise QueryError("format", "parquet is not for a terminal; redirect it to a file")
    data = require_data_dir(call.data)
    with (
        tempfile.TemporaryDirectory(prefix="foldlog-export-") as spill,
        contextlib.closing(connect(call.settings.report_memory, 2, Path(spill))) as database,
    ):
        read_published(data, lambda snapshot: export(database, data, snapshot, query, format_, out))
    return SUCCESS
