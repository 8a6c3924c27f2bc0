"""From a request to its handler, and from whatever that raises to an answer. Every handler takes (service, request).

One wrapper around each handler, and a last route for everything that is not there, instead of aiohttp's middlewares: these
cost every request as much as decoding an event does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from ingest.refusal import Refusal
from ingest.service import Service

Handler = Callable[[Service, web.Request], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]


def add_routes(app: web.Application, service: Service, routes: Sequence[Route]) -> None:
    """Add (method, path, handler) triples; any other method is 405, any other path 404, each with a problem."""
    allowed: dict[str, list[str]] = {}
    for method, path, handler in routes:
        app.router.add_route(method, path, answering(service, handler))
        allowed.setdefault(path, []).append(method)
    for path, methods in allowed.items():
        app.router.add_route("*", path, answering(service, _refuse_method(methods)))
    app.router.add_route("*", "/{rest:.*}", answering(service, refuse_path))


def answering(service: Service, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler as aiohttp wants it. Refusals become problem+json; what nobody foresaw is logged, and a 500 without details."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(service, request)
        except Refusal as refusal:
            return refusal.response()
        except Exception as error:  # noqa: BLE001  the last resort: a defect must not show its inside, nor end the worker
            service.log.error("defect", path=request.path[:100], error=repr(error)[:1000])
            return Refusal(500, "internal", "this is a defect of the server; its log says more").response()

    return answer


async def refuse_path(_service: Service, _request: web.Request) -> web.StreamResponse:
    raise Refusal(404, "not_found", "there is nothing here; docs/api.md lists what there is")


def _refuse_method(methods: Sequence[str]) -> Handler:
    allow = ", ".join(sorted(methods))

    async def refuse_method(_service: Service, _request: web.Request) -> web.StreamResponse:
        raise Refusal(405, "method", f"this takes {allow}", allow=allow)

    return refuse_method
