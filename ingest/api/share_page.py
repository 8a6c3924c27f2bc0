"""GET /share/{id} and /embed/{id}: the dashboard as a share link opens it.

The page is the same for all links, whether there is one or not: what it may see, it
asks for with the secret that stands behind the `#`, which no browser sends. A page of
another site may frame it only at /embed/, and only one that the link names.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.dashboard import HEADERS, PAGE, POLICY
from ingest.api.static_file import static_file
from ingest.context import WorkerContext
from ingest.http.problem import Problem
from ingest.http.router import Route

NOT_FRAMED = "frame-ancestors 'none'"

get_share_page = static_file(f"dashboard/{PAGE}", HEADERS)


async def get_embed_page(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """Raises Problem 404 for a link that may not be framed, or is not valid."""
    link_id = request.raw_path.partition("?")[0].rpartition("/")[2]
    link = await worker.known_links.valid(link_id, worker.now_ms())
    if link is None or not link.embed:
        raise Problem(404, "not_found", "there is nothing to embed here")
    response = await get_share_page(worker, request)
    # With its scheme: a host alone would be that of the scheme of this page.
    hosts = " ".join(f"https://{host} http://{host}" for host in link.embed)
    response.headers["Content-Security-Policy"] = POLICY.replace(NOT_FRAMED, f"frame-ancestors {hosts}")
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Cache-Control"] = "no-store"  # the hosts may change
    del response.headers["ETag"]
    return response


ROUTES: list[Route] = [("GET", "/share/{id}", get_share_page), ("GET", "/embed/{id}", get_embed_page)]
