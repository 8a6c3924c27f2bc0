"""What a request may that shows a session of a share link: read the reports of its
site, and nothing else. Handlers that take links call this; no other one does.
"""

from __future__ import annotations

from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.auth import Access, require_access, require_same_site
from ingest.share_links.session import given_session, is_session, no_link
from shared.tokens import digest


async def require_reader(worker: WorkerContext, request: BaseRequest) -> Access:
    """As `require_access`, also by a share link. Raises Problem 403 `share` for one
    that is not valid, 429 for a client that asks by it too often.
    """
    given = given_session(request)
    if given is None:
        return await require_access(worker, request)
    require_same_site(worker, request)
    link, now = await worker.known_links.valid(given.link_id, worker.now_ms()), worker.now_ms()
    if link is None or not is_session(link, given.kind, given.session, now):
        raise no_link()
    if given.kind == "embed" and not link.embed:
        raise no_link()
    address = worker.proxies.identify(request.remote or "", request.headers).address
    if limit := worker.settings.rate_limit_token:
        worker.rate_limiter.check_secret(f"share {link.id} {address}", limit, "link")
    worker.last_use.note(link.id, now)
    return Access(frozenset(["read"]), (link.site,), digest(f"share {link.id}"))
