"""GET /admin/: the static files of the dashboard.

The files are public; the page fetches its numbers with the operator's token.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.static_file import static_file
from ingest.context import WorkerContext
from ingest.http.router import Route

# The page loads nothing from other hosts, cannot be framed, and makes no markup of
# texts (Trusted Types).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
PAGE = "index.html"


def files() -> Iterator[str]:
    """The names of the files of web/dashboard/ that a page loads, with their
    folders.
    """
    yield from _files(resources.files("web").joinpath("dashboard"), "")


def _files(folder: Traversable, within: str) -> Iterator[str]:
    for each in sorted(folder.iterdir(), key=lambda found: found.name):
        if each.is_dir():
            yield from _files(each, f"{within}{each.name}/")
        elif each.name.endswith((".html", ".js", ".css")):
            yield within + each.name


async def redirect_to_dashboard(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """308 from /admin to /admin/. Relative, because a proxy may have added a path."""
    return web.Response(status=308, headers={"Location": "admin/"})


ROUTES: list[Route] = [
    ("GET", "/admin", redirect_to_dashboard),
    *(("GET", f"/admin/{'' if name == PAGE else name}", static_file(f"dashboard/{name}", HEADERS)) for name in files()),
]
