"""The read half: snapshot, report, export, status, fold, and the page that shows them.
Never touches the write path.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from importlib import resources

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.async_wait import wait_for
from ingest.context import WorkerContext
from ingest.http.problem import SERVER, Problem
from ingest.http.router import Handler
from reports import encode
from reports.query import QueryError, parse
from shared.disk.control_files import NOT_FOLDED, NOT_SEALED, RequestTimedOut, request_fold, request_seal
from shared.generations.load import find_snapshot, load_snapshot
from shared.status import read_status
from shared.tokens import Scope

SEAL_TIMEOUT_S = 10
FOLD_TIMEOUT_S = 120

# The page loads nothing from anywhere else, and no other page may frame it.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_PAGE_FILES = {
    "index.html": "text/html",
    "page.js": "text/javascript",
    "page.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}


def may_read(worker: WorkerContext, request: BaseRequest) -> frozenset[Scope]:
    """The scopes of a request that brings a token and comes from no other site. Raises
    Problem 401 or 403 for any other.
    """
    same_site(worker, request)
    scopes = worker.keyring.scopes(request.headers)
    if scopes is not None and not scopes:
        raise Problem(401, "token", "this token is not valid; `foldlog token create` makes another")
    if scopes is None:
        raise Problem(401, "token", "send a token as Authorization: Bearer <token>, or as the password of Basic")
    if not scopes & {"read", "admin"}:
        raise Problem(403, "scope", "this token may write events only")
    return scopes


def may_act(worker: WorkerContext, request: BaseRequest) -> None:
    """Raises Problem unless the request may change something: that takes an admin
    token.
    """
    if "admin" not in may_read(worker, request):
        raise Problem(403, "scope", "this token may read only")


def same_site(worker: WorkerContext, request: BaseRequest) -> None:
    """Raises Problem 403 when a page of another site is behind the request: the browser
    may hold a password for us.
    """
    headers = request.headers
    fetch_site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if fetch_site is None and origin is not None:
        own = worker.proxies.identify(request.remote or "", headers).host
        fetch_site = "same-origin" if origin.partition("//")[2].lower() == own else "cross-site"
    if fetch_site not in {None, "same-origin", "none"}:
        raise Problem(403, "origin", "a page of another site cannot do this")


async def get_snapshot(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The snapshot as it is on disk; its ETag is its generation."""
    may_read(worker, request)
    snapshot, content, _ = find_snapshot(worker.data)
    if not content:
        raise Problem(404, "no_snapshot", "nothing has been folded yet")
    etag = f'"{snapshot.generation}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type="application/json", headers=headers)


async def get_report(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """One report; reports/query.py is the grammar of its parameters."""
    may_read(worker, request)
    parameters = checked(request, worker, tuple(encode.REPORT_FORMATS))
    format_ = parameters.pop("format", "json")
    content = await worker.reader.report(parameters, format_)
    return web.Response(
        body=content,
        content_type=encode.REPORT_FORMATS[format_],
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


async def get_export(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """The archived events of a time, streamed."""
    may_read(worker, request)
    parameters = checked(request, worker, tuple(encode.EXPORT_FORMATS), only=("from", "to", "tz", "format"))
    format_ = parameters.pop("format", "ndjson")
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "Server": SERVER})
    response.content_type = encode.EXPORT_FORMATS[format_]
    response.headers["Content-Disposition"] = f'attachment; filename="foldlog.{format_}"'
    blocks = worker.reader.export(parameters, format_)
    block = await anext(blocks, b"")  # before the head: what is refused now can still be answered
    await response.prepare(request)
    while block:
        await response.write(block)
        block = await anext(blocks, b"")
    await response.write_eof()
    return response


async def get_status(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The balance of P8, segments, lag and disk."""
    may_read(worker, request)
    status = await asyncio.to_thread(read_status, worker.data, worker.settings)
    return web.Response(
        body=orjson.dumps(status), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


async def post_fold(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """Seal and fold now; answers when the snapshot that holds everything accepted
    before is published.
    """
    may_act(worker, request)
    try:
        sealed = await asyncio.to_thread(request_seal, worker.data)
        await wait_for(sealed, SEAL_TIMEOUT_S, worker.is_rejecting, NOT_SEALED)
        folded = await asyncio.to_thread(request_fold, worker.data)
        await wait_for(folded, FOLD_TIMEOUT_S, worker.is_rejecting, NOT_FOLDED)
    except RequestTimedOut as error:
        raise Problem(503, "fold", str(error), retry_after_s=10) from None
    snapshot = await asyncio.to_thread(load_snapshot, worker.data)
    return web.json_response({"generation": snapshot.generation, "as_of": snapshot.as_of})


def checked(
    request: BaseRequest, worker: WorkerContext, formats: tuple[str, ...], only: tuple[str, ...] = ()
) -> dict[str, str]:
    """The URL's parameters, once each and understood. Raises Problem 400."""
    parameters = dict(request.query)
    if len(parameters) != len(request.query):
        raise Problem(400, "query", "each parameter may be given once")
    if only and (unknown := sorted(set(parameters) - set(only))):
        raise Problem(400, "query", f"{unknown[0]}: there is no such parameter; there are {', '.join(only)}")
    if parameters.get("format", formats[0]) not in formats:
        raise Problem(400, "query", f"format: one of {', '.join(formats)}")
    try:
        parse(parameters, datetime.now(UTC), worker.settings.timezone)
    except QueryError as error:
        raise Problem(400, "query", str(error)) from None
    return parameters


def page_file(name: str) -> Handler:
    """A handler for one file of the page. The page itself is public: what it shows, it
    fetches with the token.
    """
    content = resources.files("web").joinpath("dashboard", name).read_bytes()

    async def get_page_file(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
        return web.Response(body=content, content_type=_PAGE_FILES[name], charset="utf-8", headers=_PAGE_HEADERS)

    return get_page_file


async def get_page_without_slash(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """308 to the page, for who typed its address. Relative: a proxy may have put it
    below another path.
    """
    return web.Response(status=308, headers={"Location": "admin/"})


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/admin/api/snapshot", get_snapshot),
    ("GET", "/admin/api/report", get_report),
    ("GET", "/admin/api/export", get_export),
    ("GET", "/admin/api/status", get_status),
    ("POST", "/admin/api/fold", post_fold),
    ("GET", "/admin", get_page_without_slash),
    ("GET", "/admin/", page_file("index.html")),
    *(("GET", f"/admin/{name}", page_file(name)) for name in _PAGE_FILES if name != "index.html"),
]
