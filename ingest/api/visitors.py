"""/admin/api/visitors/{id}: look at one visitor, and erase them. The compactor erases;
the handler requests it and waits for a limited time.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.async_wait import until
from ingest.api.while_wanted import while_wanted
from ingest.context import WorkerContext
from ingest.http.auth import require_admin_access
from ingest.http.connection import client_has_left
from ingest.http.problem import Problem
from reports.kinds import KIND, visitor_events
from shared.disk.control_files import SEAL_TIMEOUT_S, request_seal, touch
from shared.disk.layout import DataDirectory
from shared.erasures import ErasureRequest, create_request, has_order, is_done, progress_of
from shared.host_names import SITE, lower_host
from shared.stores.address import is_postgres
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.retired import retired_holders

ERASE_TIMEOUT_S = 60
PUBLISH_TIMEOUT_S = 20
ID_MAX_CHARS = 100
# What a token of some sites does not learn: how much of the visitor others have.
_OF_OTHERS = {"other_sites": None, "mentions": None, "unreadable": None, "retired": None}
_COUNTS = ("events", "days", "lines", "segments", "quarantined", "other_sites", "mentions", "unreadable")


async def delete_visitor(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """200 with what was erased, or 202 when the next pass will do it, also for a client
    that has closed its side.

    Raises Problem 400 for an invalid id or site.
    """
    access = await require_admin_access(worker, request)
    visitor, site = parse_target(request)
    site = access.question({"site": site or ""})["site"] or None

    def is_unwanted() -> bool:
        return worker.is_drained() or client_has_left(request)

    erasure = await asyncio.to_thread(create_request, worker.data, visitor, site)
    # The visitor's events so far are sealed and folded first, so that the erasure finds
    # them. A stuck writer only delays it: the compactor retries with every pass.
    await until(await asyncio.to_thread(request_seal, worker.data), SEAL_TIMEOUT_S, is_unwanted)
    await asyncio.to_thread(touch, worker.data.fold_request)
    if not await until(lambda: is_done(worker.data, erasure), ERASE_TIMEOUT_S, is_unwanted):
        return web.json_response({"request": erasure.request, "state": "pending"}, status=202)
    retired = await _retired(worker, erasure)
    found = completed(worker.data, erasure) | {"retired": retired}
    return web.json_response(found if access.sites is None else found | _OF_OTHERS)


async def get_visitor(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """What an erasure would take out of the archive now: events by site, and on how
    many days.

    Raises Problem 400 for an invalid id or site.
    """
    access = await require_admin_access(worker, request)
    visitor, site = parse_target(request)
    site = access.question({"site": site or ""})["site"]
    asked = {KIND: visitor_events.KIND, "visitor": visitor, "site": lower_host(site)}
    content = await while_wanted(request, worker.reader.report(asked, "json", access.owner))
    return web.Response(body=content, content_type="application/json", headers={"Cache-Control": "no-store"})


async def _retired(worker: WorkerContext, erasure: ErasureRequest) -> list[dict[str, str]] | None:
    """Retired hosts of the store that still have the visitor; None where the store has
    not said so in time.
    """
    if not is_postgres(worker.settings.store):
        return []
    if not await until(lambda: not has_order(worker.data, erasure), PUBLISH_TIMEOUT_S, worker.is_drained):
        return None
    try:
        found = await asyncio.to_thread(retired_holders, worker.settings.store, erasure.request)
    except (StoreUnavailable, StoreRefused):
        return None
    return [{"instance": str(each.instance), "host": each.host} for each in found]


def parse_target(request: BaseRequest) -> tuple[str, str | None]:
    """The visitor id and the site (None: all sites) of the URL. Raises Problem 400."""
    visitor = unquote(request.raw_path.partition("?")[0].rpartition("/")[2], errors="replace")
    if not 0 < len(visitor) <= ID_MAX_CHARS:
        raise Problem(400, "query", f"a visitor id has 1 to {ID_MAX_CHARS} characters")
    if unknown := sorted(set(request.query) - {"site"}):
        raise Problem(400, "query", f"{unknown[0]}: unknown parameter; valid is site")
    site = request.query.get("site")
    if len(request.query) > 1 or (site is not None and not SITE.fullmatch(lower_host(site))):
        raise Problem(400, "query", "site: one host such as example.com; without it, all sites are erased")
    return visitor, site


def completed(data: DataDirectory, erasure: ErasureRequest) -> dict[str, Any]:
    """The response body of a completed erasure, from erasures.ndjson."""
    started, done = progress_of(data, erasure.request)
    if started is None or done is None:
        raise Problem(500, "internal", "the erasure is done, but its record in erasures.ndjson is missing")
    counts = {name: getattr(started, name) for name in _COUNTS}
    return {"request": erasure.request, "state": "done", "generation": done.generation, **counts}
