"""`foldlog import`: the requests of access logs, and what other tools export, become
events.
"""

from __future__ import annotations

import asyncio
import sys

from foldlog.commands import Invocation
from foldlog.importers.block_parser import Rules
from foldlog.importers.exports.sums import only_sums
from foldlog.importers.import_log import FUTURE_MAX_MS, Request, import_files, not_understood
from foldlog.importers.inputs import inputs
from foldlog.importers.outcome import REJECTED, Imported, summary
from foldlog.importers.site_choice import SiteChoice
from foldlog.preflight import ensure_data_dir
from foldlog.terminal import Console, bytes_done
from ingest.collect.own_traffic import OwnTraffic
from shared.exit_codes import PROBLEMS, SUCCESS
from shared.stores.instance import check_instance
from shared.timestamps import now_ms


def run(call: Invocation) -> int:
    files = inputs(call.options.file)
    request = _request(call)
    if not request.dry_run:
        check_instance(call.data, call.settings.instance)
        ensure_data_dir(call.data)
    with bytes_done(Console(stderr=True), sum(each.size for each in files)) as progress:
        done = asyncio.run(import_files(files, request, call.data, call.settings, call.log, progress))
    print("\n".join(summary(done, dry_run=request.dry_run)))
    return _exit_code(done, request, strict=call.options.strict)


def _request(call: Invocation) -> Request:
    given = call.options
    site = SiteChoice(given.site, tuple(call.settings.sites), given.other_hosts)
    rules = Rules(
        site=site,
        latest_ms=now_ms() + FUTURE_MAX_MS,
        zone=given.tz or call.settings.zone,
        pages_only=given.pages_only,
        not_found=given.not_found,
        forwarded=given.forwarded,
        own_traffic=OwnTraffic(call.settings.exclude_networks),
    )
    zone = {"export_zone": given.tz} if given.tz else {}
    return Request(given.format, rules, given.source, given.dry_run, **zone)


def _exit_code(done: Imported, request: Request, *, strict: bool) -> int:
    if done.strange:
        print(f"foldlog: {not_understood(done, request.format)}", file=sys.stderr)
        return PROBLEMS
    for each in done.sums:
        print(f"foldlog: {only_sums(each.file, each.tool)}", file=sys.stderr)
    if done.sums:
        return PROBLEMS
    return PROBLEMS if strict and done.count(*REJECTED) else SUCCESS
