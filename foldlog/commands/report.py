"""`foldlog report`: one report on the terminal, or as JSON or CSV."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb

from foldlog.arguments import query_parameters
from foldlog.commands import Invocation
from foldlog.guarded_output import program_output
from foldlog.preflight import require_data_dir
from foldlog.terminal import Console, plain, table
from reports.cluster.cluster_store import ClusterStore
from reports.compared_rows import CHANGE, count_table, flat
from reports.digest.mail import mail
from reports.digest.notes import notes_of
from reports.digest.page import page
from reports.digest.questions import Digest, questions
from reports.encode import csv_format, encode_report
from reports.hosts.asked import Asked, asks_all_hosts
from reports.hosts.hosts_store import hosts_store
from reports.kinds import KIND, csv_table, goals, parse_question
from reports.query import Query
from reports.query_error import QueryError
from reports.report import make_report, report_of
from shared.annotations import read_annotations
from shared.disk.layout import DataDirectory
from shared.disk.marks import read_mark
from shared.disk.spill import own_spill, spill_max_bytes
from shared.duckdb_engine import connect, keep_free, limit_spill
from shared.exit_codes import SUCCESS
from shared.generations.consistent_read import read_published
from shared.named_filters import of_kind, read_named_filters
from shared.stores.address import is_clickhouse
from shared.timestamps import rfc3339


def run(call: Invocation) -> int:
    given, data = call.options, call.data
    if given.raw and not given.csv:
        raise QueryError("raw", "--raw goes with --csv")
    query = parse_question(_parameters(given, data), datetime.now(UTC), call.settings.timezone)
    with (
        own_spill(require_data_dir(data)) as spill,
        contextlib.closing(connect(call.settings.report_memory, 2, spill)) as database,
    ):
        limit_spill(database, spill_max_bytes(data, call.settings.disk_reserve))
        keep_free(database, call.settings.disk_reserve)
        if given.html or given.mail:
            program_output().write(_digest(call, database, query))
            return SUCCESS
        report = _report(call, database, query)
    if given.json or given.csv:
        format_ = "json" if given.json else csv_format("csv", raw=given.raw)
        program_output().write(encode_report(report, format_))
        return SUCCESS
    show(Console(), report)
    return SUCCESS


def _parameters(given: argparse.Namespace, data: DataDirectory) -> dict[str, str]:
    """What was typed, and what a kind needs of the directory."""
    parameters = query_parameters(given)
    if parameters.get(KIND) == "live":
        parameters.pop("at", None)  # that of paths
        if at_ms := read_mark(data.last_pass):
            parameters["at"] = rfc3339(at_ms)
    if parameters.get(KIND) == "goals":
        parameters["goals"] = goals.given(of_kind(read_named_filters(data), "goal"))
    return parameters


def _digest(call: Invocation, database: duckdb.DuckDBPyConnection, query: Query) -> bytes:
    """A page, or a mail. Raises QueryError and AddressInvalid."""
    now, zone = datetime.now(UTC), call.settings.timezone
    asked = [parse_question(each, now, zone) for each in questions(query_parameters(call.options), query)]
    totals, chart, *tables = [_report(call, database, each) for each in asked]
    site = call.options.query_site or None
    notes = notes_of(chart, read_annotations(call.data).entries, site)
    digest = Digest(site or "All sites", totals, chart, tuple(tables), notes)
    return mail(digest, call.options.mail) if call.options.mail else page(digest).encode("utf-8")


def _report(call: Invocation, database: duckdb.DuckDBPyConnection, query: Query) -> Mapping[str, Any]:
    data, settings = call.data, call.settings
    if not asks_all_hosts(query, settings.store):
        return read_published(data, lambda snapshot: make_report(database, data, snapshot, query))
    if is_clickhouse(settings.store):
        return ClusterStore(data, settings.store).report(Asked(query, settings.timezone))
    with hosts_store(data, settings.store, settings.store_cache, settings.disk_reserve) as store:
        asked = Asked(query, settings.timezone)
        return store.read(asked, lambda source: report_of(database, source, query))


def show(console: Console, report: Mapping[str, Any]) -> None:
    """The report as a table, with the total in the last row."""
    if KIND in report:
        _show_kind(console, report)
    else:
        _show_counts(console, report)
    as_of = f"as of {report['as_of']}" if report["generation"] else "nothing has been folded yet"
    about = f"{report['from']} to {report['to']}" if "from" in report else f"until {report['at']}"
    console.print(plain(f"{about}, {as_of}"), style="dim", soft_wrap=True)
    if "compare" in report:
        compared = f"compared with {report['previous_from']} to {report['previous_to']}"
        console.print(plain(compared), style="dim", soft_wrap=True)
    for host in report.get("hosts", ()):
        console.print(plain(_host_line(host)), style="dim", soft_wrap=True)
    if "reason" in report:
        console.print(plain(f"Left empty: {report['reason']}"))


def _show_kind(console: Console, report: Mapping[str, Any]) -> None:
    """The rows as CSV has them, and the numbers of the total."""
    columns, rows = csv_table(report)
    numbers = [not isinstance(rows[0].get(name), str | None) if rows else False for name in columns]
    table(console, list(zip(columns, numbers, strict=True)), [[row.get(name) for name in columns] for row in rows])
    total = ", ".join(f"{value} {name}" for name, value in report["total"].items() if value is not None)
    console.print(plain(f"total: {total}"), soft_wrap=True)


def _show_counts(console: Console, report: Mapping[str, Any]) -> None:
    columns = [
        (name, False) for name, given in (("time", report["interval"] != "none"), ("value", report["by"])) if given
    ]
    names = [name for name, _ in columns]
    numbers = [name for name in count_table(report)[0] if name not in names]
    rows = [[_cell(row, name) for name in (*names, *numbers)] for row in map(flat, report["rows"])]
    if names:
        label = ["total", *[""] * (len(names) - 1)]
        total = flat(report["total"])
        rows.append([*label, *(_cell(total, name) for name in numbers)])
    table(console, [*columns, *((name.replace("_", " "), True) for name in numbers)], rows)


def _host_line(host: Mapping[str, Any]) -> str:
    """Up to when a host is counted."""
    state = " (retired)" if host["retired"] else " (BEHIND)" if host["behind"] else ""
    published = f"generation {host['generation']}, as of {host['as_of']}" if host["as_of"] else "nothing published"
    own = f", own salt on {', '.join(host['own_salt_days'])}" if host["own_salt_days"] else ""
    return f"{host['host']}: {published}{state}{own}"


def _cell(row: Mapping[str, Any], name: str) -> object:
    value = row.get(name)
    if name.startswith(f"{CHANGE}_") and value is not None:
        return f"{value:+.1%}"
    return "(none)" if name == "value" and value is None else value
