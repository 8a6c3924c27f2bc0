"""The answers of a pixel: one transparent point, whatever became of the event.

The status is the truth, and so is `Foldlog-Problem`, the code of a problem. A mail or a
page shows the same point in each case, and no broken image.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from ingest.http.problem import Problem

GIF = bytes.fromhex(
    "47494638396101000100f00000000000000000"  # GIF89a, 1 by 1, two colours
    "21f90401000000002c00000000010001000002024401003b"  # the first of them is transparent
)
# `cross-origin`: pages that isolate themselves (COEP) show images of others only so.
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


def image(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """The point, which no cache keeps: each load is asked for."""
    return web.Response(status=status, body=GIF, content_type="image/gif", headers=_HEADERS | dict(headers or {}))


def image_of_problem(problem: Problem, request_id: str) -> web.Response:
    """The point, with the status and the headers of a problem, and its code."""
    response = image(problem.status, problem.headers(request_id) | {"Foldlog-Problem": problem.code})
    if problem.close:
        response.force_close()
    return response
