"""From a request to its handler, and from whatever that raises to an answer. Every
handler takes (worker, request).

Paths are fixed, or end in an id of any value, so a dictionary routes them: aiohttp's
own router and middlewares would cost a request more than decoding and checking its
event does.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.web_request import BaseRequest

from ingest.collect import admission
from ingest.context import WorkerContext
from ingest.http.connection import Connection
from ingest.http.problem import SERVER, Problem
from reports.reader.client import ReportError
from shared.generations.snapshot import SnapshotDamaged
from shared.segments.line import DataFromNewerVersion
from shared.tokens import TokensDamaged
from shared.worker_stats import NO_ROUTE

Handler = Callable[[WorkerContext, BaseRequest], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]

# In place of what a path ends in. It also stands there in messages and metrics: an id
# of a person is in neither.
ANY = "/{id}"
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


def dispatch(worker: WorkerContext, routes: Sequence[Route]) -> Callable[[BaseRequest], Awaitable[web.StreamResponse]]:
    """What aiohttp calls for each request, made of (method, path, handler) triples.

    Refusals become problem+json; what nobody foresaw is logged, and a 500 without
    details.
    """
    table: dict[str, dict[str, Handler]] = {}
    for method, path, handler in routes:
        table.setdefault(path, {})[method] = handler

    async def answer(request: BaseRequest) -> web.StreamResponse:
        worker.in_flight += 1
        route, code = NO_ROUTE, "ok"
        try:
            if worker.rejecting:
                raise Problem(503, "stopping", "the server is shutting down", retry_after_s=1, close=True)
            if request.version is not HttpVersion11:
                check_old_http(request)
            route, handler = find(table, request)
            response = await handler(worker, request)
        except ConnectionError:  # the client went away, or an answer that has begun cannot be finished
            if request.transport is not None:
                request.transport.abort()
            code, response = "gone", web.Response(status=400)
        except Exception as error:  # noqa: BLE001  the last resort: a defect must not show its inside, nor end the worker
            # Its traceback holds this frame, which holds the refusal: a circle, and in
            # it the body, until the collector comes.
            refusal = as_refusal(error).with_traceback(None)
            code, response = refusal.code, refused(worker, request, route, refusal, error)
        finally:
            worker.in_flight -= 1
        if isinstance(response, web.Response):
            response.headers["Server"] = SERVER
        if worker.stopping and not cast(Connection, request.protocol).has_next:
            response.force_close()
        worker.stats.record_answer(route, response.status, code)
        return response

    return answer


def as_refusal(error: Exception) -> Problem:
    """What the client is told of an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, (SnapshotDamaged, DataFromNewerVersion)):
        return Problem(503, "snapshot", str(error), retry_after_s=60)
    if isinstance(error, ReportError):
        retry_after_s = None if error.code == "query" else 5
        return Problem(400 if error.code == "query" else 503, error.code, error.detail, retry_after_s=retry_after_s)
    if isinstance(error, TokensDamaged):
        return Problem(503, "tokens", str(error), retry_after_s=60)
    return Problem(500, "internal", "this is a defect of the server; its log says more")


def refused(
    worker: WorkerContext, request: BaseRequest, route: str, refusal: Problem, error: Exception
) -> web.Response:
    """The problem, with an id by which its line in the log is found. Consent that was
    not given leaves no line at all.
    """
    request_id = id_of(worker, request)
    fields = {"request_id": request_id, "status": refusal.status, "code": refusal.code}
    if refusal.status == 500:
        worker.log.error("request_failed", error=repr(error)[:1000], route=route, **fields)
    elif refusal.code != "consent":
        worker.log.debug("request_rejected", **fields)
    response = refusal.response(request_id)
    if request.raw_path.startswith("/v1/events"):
        response.headers.update(admission.cors(request.headers, worker.settings))
    return response


def id_of(worker: WorkerContext, request: BaseRequest) -> str:
    """The id that a trusted proxy gave the request, or a new one."""
    given = request.headers.get("X-Request-Id", "")
    if _REQUEST_ID.fullmatch(given) and worker.proxies.is_trusted(request.remote or ""):
        return given
    return secrets.token_hex(8)


def find(table: dict[str, dict[str, Handler]], request: BaseRequest) -> tuple[str, Handler]:
    """The route and the handler of a request. Raises Problem 404 or 405."""
    path = request.raw_path
    methods = table.get(path)
    if methods is None:
        path = path.partition("?")[0]
        methods = table.get(path)
    if methods is None:
        path = path.rpartition("/")[0] + ANY
        methods = table.get(path)
    if methods is None:
        raise Problem(404, "not_found", "there is nothing here; the page is at /admin/, and docs/api.md lists the rest")
    handler = methods.get(request.method)
    if handler is None:
        allow = ", ".join(sorted(methods))
        raise Problem(405, "method", f"this takes {allow}", headers={"Allow": allow})
    return path, handler


def check_old_http(request: BaseRequest) -> None:
    """Raises Problem 400 for what is neither HTTP/1.0 nor 1.1, and for chunks in 1.0,
    which a proxy before us would not see.
    """
    if request.version not in (HttpVersion10, HttpVersion11):
        raise Problem(400, "http", "only HTTP/1.0 and HTTP/1.1 are spoken here", close=True)
    if request.version == HttpVersion10 and "Transfer-Encoding" in request.headers:
        raise Problem(400, "http", "HTTP/1.0 knows no Transfer-Encoding", close=True)
