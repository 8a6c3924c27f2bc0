"""`foldlog export`: the archived events on standard output."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from foldlog.arguments import query_parameters
from foldlog.preflight import require_data_dir
from reports.export import export
from reports.query import QueryError, parse
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.exit_codes import SUCCESS
from shared.generations.consistent_read import read_published
from shared.log import Log
from shared.settings import Settings


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    query = parse(query_parameters(given), datetime.now(UTC), settings.timezone)
    if given.format == "parquet" and sys.stdout.isatty():
        raise QueryError("format", "parquet is not for a terminal; redirect it to a file")
    out = sys.stdout.buffer
    with (
        tempfile.TemporaryDirectory(prefix="foldlog-export-") as spill,
        contextlib.closing(connect(settings.report_memory, 2, Path(spill))) as database,
    ):
        read_published(
            require_data_dir(data), lambda snapshot: export(database, data, snapshot, query, given.format, out)
        )
    return SUCCESS
