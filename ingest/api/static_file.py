"""A file of the package as an answer: compressed for those who take that, and with a
mark (ETag), so that what a browser has already is not sent again.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from importlib import resources

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.router import Handler

_LOOKED_AT_CHARS = 200
_TEXTS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


def static_file(path: str, headers: Mapping[str, str]) -> Handler:
    """A handler that serves one file of web/, with these headers."""
    plain = resources.files("web").joinpath(path).read_bytes()
    packed = gzip.compress(plain, 9, mtime=0)
    mark = hashlib.sha256(plain).hexdigest()[:16]
    media_type = _TEXTS[path.rpartition(".")[2]]

    async def get_static_file(_worker: WorkerContext, request: BaseRequest) -> web.Response:
        is_packed = takes_gzip(request.headers.get("Accept-Encoding", ""))
        own = {"ETag": f'"{mark}-gzip"' if is_packed else f'"{mark}"', "Vary": "Accept-Encoding", **headers}
        if mark in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=own)
        if is_packed:
            own["Content-Encoding"] = "gzip"
        return web.Response(body=packed if is_packed else plain, content_type=media_type, charset="utf-8", headers=own)

    return get_static_file


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
