"""/admin/api/shares: an admin of all sites lists share links, never their secrets,
creates and revokes them. With a PostgreSQL store they are those of all its hosts. POST
/admin/api/share-session opens one.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest
from msgspec import Meta

from ingest.api.changing import json_body, kept
from ingest.api.tokens import known_sites
from ingest.context import WorkerContext
from ingest.http.auth import require_admin, require_same_site
from ingest.http.problem import Problem
from ingest.share_links import password as passwords
from ingest.share_links.links import (
    EMBED_MAX,
    FramingHost,
    ShareLink,
    new_link,
    shown_time,
    time_of,
)
from ingest.share_links.links_file import add_link, revoke_link
from ingest.share_links.session import LIFETIMES_S, Kind, make_session, no_link, set_cookie
from shared.named_filters import Name
from shared.tokens import digest

_NO_STORE = {"Cache-Control": "no-store"}
Password = Annotated[str, Meta(min_length=passwords.LENGTH_MIN, max_length=passwords.LENGTH_MAX)]


class NewShare(msgspec.Struct, forbid_unknown_fields=True):
    """`expires`: an instant with a zone. `embed`: hosts whose pages may frame it."""

    site: Annotated[str, Meta(min_length=1, max_length=260)]
    name: Name
    password: Password | None = None
    expires: str | None = None
    embed: Annotated[list[FramingHost], Meta(max_length=EMBED_MAX)] = []


class OpenShare(msgspec.Struct, forbid_unknown_fields=True):
    """`embed`: for a page within a page of another host."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
    secret: Annotated[str, Meta(min_length=1, max_length=200)]
    password: Annotated[str, Meta(min_length=1, max_length=passwords.LENGTH_MAX)] | None = None
    embed: bool = False


_NEW = msgspec.json.Decoder(NewShare)
_OPEN = msgspec.json.Decoder(OpenShare)


async def get_shares(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """All of them, without their secrets."""
    await require_admin(worker, request)
    found = await worker.known_links.read()
    said: dict[str, Any] = {"shares": [_shown(worker, each) for each in found.links]}
    if found.damage:
        said["reason"] = f"shares.json {found.damage}"
    return web.json_response(said, headers=_NO_STORE)


def _shown(worker: WorkerContext, link: ShareLink) -> dict[str, Any]:
    return {
        "id": link.id,
        "site": link.site,
        "name": link.name,
        "created": link.created,
        "expires": shown_time(link.expires_ms),
        "has_expired": link.has_expired(worker.now_ms()),
        "has_password": link.password is not None,
        "embed": list(link.embed),
        "last_used": shown_time(worker.last_use.read(link.id)),
    }


async def post_share(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """201 with the new link and its secret, which is shown this once. Where hosts share
    a store, it is one of all of them, or there is none.

    Raises Problem 400, 409, 413, 415, 422, 503 or 507.
    """
    await require_admin(worker, request)
    given = await json_body(worker, request, _NEW)
    (site,) = known_sites([given.site], worker.settings)
    expires_ms = _expiry(given.expires, worker.now_ms())
    password = None if given.password is None else await worker.password_tries.make(given.password)
    link, secret = new_link(site, given.name, expires_ms, password, tuple(given.embed))
    sharing = worker.sharing
    await kept(lambda: sharing.links.add(link) if sharing else add_link(worker.data, link), "shares.json")
    worker.log.info("share_created", id=link.id, site=link.site)
    shown = _shown(worker, link) | {"secret": secret, "path": f"share/{link.id}#{secret}"}
    if link.embed:
        shown["embed_path"] = f"embed/{link.id}#{secret}"
    return web.json_response(shown, status=201, headers=_NO_STORE)


def _expiry(text: str | None, now_ms: int) -> int | None:
    """Raises Problem 422 for what is no time to come."""
    if text is None:
        return None
    try:
        expires_ms = time_of(text)
    except (ValueError, OverflowError):
        expires_ms = 0
    if expires_ms <= now_ms:
        raise Problem(422, "invalid", "expires: an instant to come, such as 2030-01-31T12:00:00Z")
    return expires_ms


async def delete_share(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """204, also while the store that hosts share is down: it learns of it when it
    answers again. Raises Problem 404 where there is none with that id, 503 or 507.
    """
    await require_admin(worker, request)
    link_id = request.raw_path.partition("?")[0].rpartition("/")[2]
    sharing = worker.sharing

    def revoke() -> bool:
        return sharing.links.revoke(link_id) if sharing else revoke_link(worker.data, link_id)

    if not await kept(revoke, "shares.json"):
        raise Problem(404, "no_such_name", "there is no share link with this id")
    if sharing is not None:
        sharing.turns_of_links.soon()
    worker.last_use.forget(link_id)
    worker.log.info("share_revoked", id=link_id)
    return web.Response(status=204, headers=_NO_STORE)


async def post_share_session(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """A session for the secret of a link, and its password: a cookie, or for an
    embedded page a value to keep in memory.

    Raises Problem 400, 403 `share` for a link that is not valid, 403 `password`, 403
    `origin`, 413, 415, 422, 429 where too many were guessed, 503.
    """
    require_same_site(worker, request)
    given = await json_body(worker, request, _OPEN)
    address = worker.proxies.identify(request.remote or "", request.headers).address
    now = worker.now_ms()
    link = await worker.known_links.valid(given.id, now)
    is_right = link is not None and link.has_secret(given.secret)
    await worker.token_guesses.admit(address, digest(f"share {given.id} {given.secret}"), is_right=is_right)
    if link is None or not is_right or (given.embed and not link.embed):
        raise no_link()
    await _check_password(worker, link, given.password, address)
    kind: Kind = "embed" if given.embed else "page"
    session = make_session(link, kind, now)
    worker.last_use.note(link.id, now)
    said: dict[str, Any] = {"site": link.site, "name": link.name, "lifetime_s": LIFETIMES_S[kind]}
    if kind == "embed":
        return web.json_response(said | {"session": f"{link.id}.{session}"}, headers=_NO_STORE)
    cookie = set_cookie(link, session, request.headers.get("Origin", ""))
    return web.json_response(said, headers=_NO_STORE | {"Set-Cookie": cookie})


async def _check_password(worker: WorkerContext, link: ShareLink, given: str | None, address: str) -> None:
    """A password costs memory and time: who has guessed too often waits before it is
    looked at. Raises Problem 403 and 429.
    """
    if link.password is None:
        return
    if given is None:
        raise Problem(403, "password", "this link needs its password")
    kept, secret = link.password, digest(f"password {link.id} {given}")
    if not await worker.token_guesses.admit_after(address, secret, lambda: worker.password_tries.is_right(given, kept)):
        raise Problem(403, "password", "this is not the password of the link")
