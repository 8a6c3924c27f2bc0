"""Dispatches a request to its handler, and turns exceptions into problems. Every
handler takes (worker, request).

Paths are fixed or end in an id, so a dictionary routes them: aiohttp's own router and
middlewares cost more than decoding and validating an event.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.web_request import BaseRequest

from ingest.collect import admission
from ingest.context import WorkerContext
from ingest.http.drain import closes_connection, reject_if_drained
from ingest.http.image import image_of_problem
from ingest.http.problem import SERVER, Problem
from reports.reader.client import ReportError
from shared.generations.snapshot import SnapshotDamaged
from shared.pixel_keys import PIXEL
from shared.segments.line import DataFromNewerVersion
from shared.worker_stats import NO_ROUTE

Handler = Callable[[WorkerContext, BaseRequest], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]

EVENTS = "/v1/events"
# Replaces the id at the end of a path, also in logs and metrics: neither may contain a
# visitor's id.
ID_SUFFIX = "/{id}"
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


def dispatch(worker: WorkerContext, routes: Sequence[Route]) -> Callable[[BaseRequest], Awaitable[web.StreamResponse]]:
    """The request handler for aiohttp's server, from (method, path, handler) triples.

    A Problem becomes its response; an unexpected exception is logged and becomes a 500
    without details.
    """
    table: dict[str, dict[str, Handler]] = {}
    for method, path, handler in routes:
        table.setdefault(path, {})[method] = handler

    others = dict.fromkeys(worker.settings.collect_paths, EVENTS) | {worker.settings.pixel_path: PIXEL}

    async def handle(request: BaseRequest) -> web.StreamResponse:
        worker.in_flight += 1
        route, code = NO_ROUTE, "ok"
        try:
            reject_if_drained(worker)
            if request.version is not HttpVersion11:
                check_old_http(request)
            route, handler = find(table, request)
            route = others.get(route, route)  # counted with it, as alerts want
            response = await handler(worker, request)
        except ConnectionError:  # the client disconnected, or the response cannot be completed
            if request.transport is not None:
                request.transport.abort()
            code, response = "gone", web.Response(status=400)
        except Exception as error:  # noqa: BLE001  a defect must neither disclose its details nor end the worker
            # Without this, traceback and frame form a cycle that keeps the body in
            # memory until the next garbage collection.
            problem = as_problem(error).with_traceback(None)
            code, response = problem.code, problem_response(worker, request, route, problem, error)
        finally:
            worker.in_flight -= 1
        if isinstance(response, web.Response):
            response.headers["Server"] = SERVER
        if closes_connection(worker, request):
            response.force_close()
        worker.stats.record_response(route, response.status, code)
        return response

    return handle


# What asking again does not mend; any other report may have an answer later.
_REPORT_STATUS = {"query": 400, "timezones": 409}


def as_problem(error: Exception) -> Problem:
    """The problem that an exception is reported as."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, (SnapshotDamaged, DataFromNewerVersion)):
        return Problem(503, "snapshot", str(error), retry_after_s=60)
    if isinstance(error, ReportError):
        status = _REPORT_STATUS.get(error.code, 503)
        return Problem(status, error.code, error.detail, retry_after_s=5 if status == 503 else None)
    return Problem(500, "internal", "internal error; the server's log has details")


def problem_response(
    worker: WorkerContext, request: BaseRequest, route: str, problem: Problem, error: Exception
) -> web.Response:
    """The response, with the request id of its log line. Missing consent is not
    logged.
    """
    request_id = request_id_of(worker, request)
    fields = {"request_id": request_id, "status": problem.status, "code": problem.code}
    if problem.status == 500:
        worker.log.error("request_failed", error=repr(error)[:1000], route=route, **fields)
    elif problem.code != "consent":
        worker.log.debug("request_rejected", **fields)
    if (route, request.method) in ((EVENTS, "POST"), (PIXEL, "GET")):
        worker.arrivals.add(worker.arrivals.of_problem(problem, request.headers.get("Host", "")))
    if route == PIXEL:
        return image_of_problem(problem, request_id)
    response = problem.response(request_id)
    if request.raw_path.startswith((EVENTS, *worker.settings.collect_paths)):
        response.headers.update(admission.cors(request.headers, worker.settings))
        if problem.code == "origin" and request.method == "POST":
            # A script must tell this from a lost connection, which it tries again.
            response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def request_id_of(worker: WorkerContext, request: BaseRequest) -> str:
    """The request id set by a trusted proxy, or a new one."""
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
        path = path.rpartition("/")[0] + ID_SUFFIX
        methods = table.get(path)
    if methods is None:
        raise Problem(404, "not_found", "not found; the dashboard is at /admin/")
    handler = methods.get(request.method)
    if handler is None:
        allow = ", ".join(sorted(methods))
        raise Problem(405, "method", f"allowed: {allow}", headers={"Allow": allow})
    return path, handler


def check_old_http(request: BaseRequest) -> None:
    """Raises Problem 400 for versions other than 1.0 and 1.1, and for chunks in 1.0.

    A proxy in front may ignore Transfer-Encoding in HTTP/1.0: request smuggling.
    """
    if request.version not in (HttpVersion10, HttpVersion11):
        raise Problem(400, "http", "only HTTP/1.0 and HTTP/1.1 are supported", close=True)
    if request.version == HttpVersion10 and "Transfer-Encoding" in request.headers:
        raise Problem(400, "http", "Transfer-Encoding is not allowed in HTTP/1.0", close=True)
