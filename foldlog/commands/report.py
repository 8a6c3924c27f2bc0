"""`foldlog report`: one report in the terminal, or as JSON or CSV."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from foldlog.arguments import query_parameters
from foldlog.preflight import require_data_dir
from foldlog.terminal import plain, table
from reports.encode import encode_report
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.exit_codes import SUCCESS
from shared.generations.consistent_read import read_published
from shared.log import Log
from shared.settings import Settings


def run(given: argparse.Namespace, settings: Settings, data: DataDirectory, _log: Log) -> int:
    """Returns the exit code."""
    query = parse(query_parameters(given), datetime.now(UTC), settings.timezone)
    with contextlib.closing(connect(settings.report_memory, 2)) as database:
        report = read_published(require_data_dir(data), lambda snapshot: make_report(database, data, snapshot, query))
    if given.json or given.csv:
        sys.stdout.buffer.write(encode_report(report, "json" if given.json else "csv"))
        return SUCCESS
    show(Console(), report)
    return SUCCESS


def show(console: Console, made: Mapping[str, Any]) -> None:
    """A show as a table, its total below."""
    columns = [(name, False) for name, given in (("time", made["interval"] != "none"), ("value", made["by"])) if given]
    names = [name for name, _ in columns]
    rows = [[_value(row, name) for name in names] + [row["events"], row["visitors"]] for row in made["rows"]]
    total = made["total"]
    if names:
        label = ["total", *[""] * (len(names) - 1)]
        rows.append([*label, total["events"], total["visitors"]])
    table(console, [*columns, ("events", True), ("visitors", True)], rows)
    as_of = f"as of {made['as_of']}" if made["generation"] else "nothing has been folded yet"
    console.print(plain(f"{made['from']} to {made['to']}, {as_of}"), style="dim", soft_wrap=True)
    if "reason" in made:
        console.print(plain(f"Left empty: {made['reason']}"))


def _value(row: Mapping[str, Any], name: str) -> object:
    value = row[name]
    return "(none)" if name == "value" and value is None else value
