"""`foldlog export`: the archived events on standard output."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from foldlog.arguments import query_parameters
from foldlog.commands import Invocation
from foldlog.guarded_output import program_output
from foldlog.preflight import require_data_dir
from reports.encode import csv_format
from reports.export import export, export_of, room_for_export
from reports.hosts.asked import Asked, asks_all_hosts, require_parts
from reports.hosts.hosts_store import hosts_store
from reports.query import parse
from reports.query_error import QueryError
from shared.exit_codes import SUCCESS
from shared.generations.consistent_read import read_published


def run(call: Invocation) -> int:
    query = parse(query_parameters(call.options), datetime.now(UTC), call.settings.timezone)
    if call.options.raw and call.options.format != "csv":
        raise QueryError("raw", "--raw goes with --format csv")
    format_, out = csv_format(call.options.format, raw=call.options.raw), program_output()
    if format_ == "parquet" and sys.stdout.isatty():
        raise QueryError("format", "parquet is not for a terminal; redirect it to a file")
    data, settings = require_data_dir(call.data), call.settings
    with room_for_export(data, settings.report_memory, settings.disk_reserve) as room:
        if not asks_all_hosts(query, settings.store):
            read_published(data, lambda snapshot: export(room, data, snapshot, query, format_, out))
            return SUCCESS
        require_parts(settings.store)
        with hosts_store(data, settings.store, settings.store_cache, settings.disk_reserve) as store:
            asked = Asked(query, settings.timezone)
            store.read(asked, lambda source: export_of(room, source, query, format_, out))
    return SUCCESS
