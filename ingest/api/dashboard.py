"""GET /admin/: the static files of the dashboard.

The files are public; the page fetches its numbers with the operator's token.
"""

from __future__ import annotations

from importlib import resources

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.router import Handler, Route

# The page loads nothing from other hosts and cannot be framed.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' "
    "data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_MEDIA_TYPES = {
    "index.html": "text/html",
    "code.js": "text/javascript",
    "page.js": "text/javascript",
    "page.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}


def static_file(name: str) -> Handler:
    """A handler that serves one file of web/dashboard/."""
    content = resources.files("web").joinpath("dashboard", name).read_bytes()

    async def get_static_file(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
        return web.Response(body=content, content_type=_MEDIA_TYPES[name], charset="utf-8", headers=_HEADERS)

    return get_static_file


async def redirect_to_dashboard(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """308 from /admin to /admin/. Relative, because a proxy may have added a path."""
    return web.Response(status=308, headers={"Location": "admin/"})


ROUTES: list[Route] = [
    ("GET", "/admin", redirect_to_dashboard),
    ("GET", "/admin/", static_file("index.html")),
    *(("GET", f"/admin/{name}", static_file(name)) for name in _MEDIA_TYPES if name != "index.html"),
]
