"""From a request to its handler, and from whatever that raises to an answer. Every handler takes (service, request).

Every path is fixed, so a dictionary routes them: aiohttp's own router and middlewares would cost a request more than decoding
and checking its event does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.refusal import Refusal
from ingest.service import Service
from shared.line import DataFromNewerVersion
from shared.snapshot import SnapshotDamaged

Handler = Callable[[Service, BaseRequest], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]


def dispatch(service: Service, routes: Sequence[Route]) -> Callable[[BaseRequest], Awaitable[web.StreamResponse]]:
    """What aiohttp calls for each request, made of (method, path, handler) triples.

    Refusals become problem+json; what nobody foresaw is logged, and a 500 without details.
    """
    table: dict[str, dict[str, Handler]] = {}
    for method, path, handler in routes:
        table.setdefault(path, {})[method] = handler

    async def answer(request: BaseRequest) -> web.StreamResponse:
        service.under_way += 1
        try:
            if "Expect" in request.headers:
                await expect(request)
            return await find(table, request)(service, request)
        except Refusal as refusal:
            return refusal.response()
        except (SnapshotDamaged, DataFromNewerVersion) as error:
            return Refusal(503, "snapshot", str(error), retry_after_s=60).response()
        except ConnectionError:  # the client went away, or an answer that has begun cannot be finished
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=400)
        except Exception as error:  # noqa: BLE001  the last resort: a defect must not show its inside, nor end the worker
            service.log.error("defect", path=request.path[:100], error=repr(error)[:1000])
            return Refusal(500, "internal", "this is a defect of the server; its log says more").response()
        finally:
            service.under_way -= 1

    return answer


def find(table: dict[str, dict[str, Handler]], request: BaseRequest) -> Handler:
    """The handler of a request. Raises Refusal 404 or 405."""
    path = request.raw_path
    methods = table.get(path) or table.get(path.partition("?")[0])
    if methods is None:
        raise Refusal(404, "not_found", "there is nothing here; docs/api.md lists what there is")
    handler = methods.get(request.method)
    if handler is None:
        allow = ", ".join(sorted(methods))
        raise Refusal(405, "method", f"this takes {allow}", allow=allow)
    return handler


async def expect(request: BaseRequest) -> None:
    """`Expect: 100-continue`: the client waits for a sign before it sends its body. Raises Refusal 417 for anything else."""
    if request.headers["Expect"].lower() != "100-continue":
        raise Refusal(417, "expect", "only Expect: 100-continue is understood")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # it is not part of the answer
