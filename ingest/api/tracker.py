"""GET /tracker.js and /tracker.v1.js: the browser script.

Public, and readable for pages of every host: they load it with a hash (SRI), which
needs CORS. `/tracker.js` is the newest: a browser asks again after an hour, and gets a
304 until an upgrade has changed it. `/tracker.v1.js` never changes, so that a hash of
it stays right, and is kept for a year.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.router import Handler, Route

NEWEST = "public, max-age=3600"
_LOOKED_AT_CHARS = 200
FROZEN = "public, max-age=31536000, immutable"


def script(name: str, caching: str) -> Handler:
    """A handler that serves one file of web/tracker/, compressed for those who take
    that.
    """
    plain = resources.files("web").joinpath("tracker", name).read_bytes()
    packed = gzip.compress(plain, 9, mtime=0)
    mark = hashlib.sha256(plain).hexdigest()[:16]
    shared = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": caching,
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }

    async def get_script(_worker: WorkerContext, request: BaseRequest) -> web.Response:
        is_packed = takes_gzip(request.headers.get("Accept-Encoding", ""))
        headers = shared | {"ETag": f'"{mark}-gzip"' if is_packed else f'"{mark}"'}
        if mark in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        if is_packed:
            headers["Content-Encoding"] = "gzip"
        body = packed if is_packed else plain
        return web.Response(body=body, content_type="text/javascript", charset="utf-8", headers=headers)

    return get_script


def takes_gzip(accept: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with a weight of nothing. Those of
    browsers are short: no more is looked at, or a header of commas would cost as much
    as many loads.
    """
    for part in accept[:_LOOKED_AT_CHARS].lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


get_newest = script("tracker.min.js", NEWEST)
ROUTES: list[Route] = [
    ("GET", "/tracker.js", get_newest),
    ("GET", "/tracker.v1.js", script("tracker.v1.js", FROZEN)),
]
