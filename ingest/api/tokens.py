"""/admin/api/tokens: an admin of all sites lists tokens, never their secrets, creates
and revokes them. With a PostgreSQL store a new one is for all its hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest
from msgspec import Meta

from ingest.api.changing import changed, json_body
from ingest.context import WorkerContext
from ingest.http.auth import require_admin
from ingest.http.problem import Problem
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.host_names import host_of, is_site
from shared.settings import Settings
from shared.shared_tokens import create_shared_token, load_shared_tokens, revoke_shared_token
from shared.timestamps import rfc3339
from shared.tokens import BY_SITE, SITES_MAX, Token, create_token, read_tokens, revoke_token

BODY_MAX_BYTES = 32 << 10
TOKENS_MAX = 1_000
_NO_STORE = {"Cache-Control": "no-store"}

_T = TypeVar("_T")


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """`sites`: those that a token to read or administer is for; none for all."""

    scope: Literal["admin", "read", "ingest"]
    sites: Annotated[list[Annotated[str, Meta(min_length=1, max_length=260)]], Meta(max_length=SITES_MAX)] = []


_NEW = msgspec.json.Decoder(NewToken)


async def get_tokens(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """All of them, those of this host first, without their secrets."""
    await require_admin(worker, request)
    listed = await asyncio.to_thread(_listed, worker)
    return web.json_response({"tokens": listed}, headers=_NO_STORE)


def _listed(worker: WorkerContext) -> list[dict[str, Any]]:
    store = worker.settings.hosts_database
    of_all = load_shared_tokens(worker.data, store) if store else ()
    by_host = {"host": read_tokens(worker.data).tokens, "all": of_all}
    return [_shown(worker, each, valid_on) for valid_on, tokens in by_host.items() for each in tokens]


def _shown(worker: WorkerContext, token: Token, valid_on: str) -> dict[str, Any]:
    last_ms = worker.last_use.read(token.id)
    return {
        "id": token.id,
        "scope": token.scope,
        "sites": list(token.sites) or ([token.site] if token.site else None),
        "use": token.use,
        "created": token.created,
        "last_used": None if last_ms is None else rfc3339(last_ms),
        "valid_on": valid_on,
    }


async def post_token(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """201 with the new token, which is shown this once.

    Raises Problem 400, 409, 413, 415, 422, 503 or 507.
    """
    await require_admin(worker, request)
    given = await json_body(worker, request, _NEW, max_bytes=BODY_MAX_BYTES)
    if given.sites and given.scope not in BY_SITE:
        raise Problem(422, "invalid", "sites: a token to write is for all, as a sender says the site of each event")
    sites = known_sites(given.sites, worker.settings)
    store = worker.settings.hosts_database

    def create(data: DataDirectory) -> tuple[Token, str]:
        if len(read_tokens(data).tokens) >= TOKENS_MAX:
            raise Problem(409, "too_many", f"there are {TOKENS_MAX} tokens already; revoke one first")
        if store:
            return create_shared_token(data, store, given.scope, sites=sites)
        return create_token(data, given.scope, sites=sites)

    token, secret = await _changed(worker, create)
    worker.log.info("token_created", id=token.id, scope=token.scope)
    shown = _shown(worker, token, "all" if store else "host") | {"token": secret}
    return web.json_response(shown, status=201, headers=_NO_STORE)


async def delete_token(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """204. Raises Problem 404 where there is none with that id."""
    await require_admin(worker, request)
    token_id = request.raw_path.partition("?")[0].rpartition("/")[2]
    store = worker.settings.hosts_database

    def revoke(data: DataDirectory) -> bool:
        return revoke_token(data, token_id) or bool(store and revoke_shared_token(data, store, token_id))

    if not await _changed(worker, revoke):
        raise Problem(404, "no_such_name", "there is no token with this id")
    worker.last_use.forget(token_id)
    worker.log.info("token_revoked", id=token_id)
    return web.Response(status=204, headers=_NO_STORE)


def known_sites(given: list[str], settings: Settings) -> list[str]:
    """Sites in the form that events have. Raises Problem 422 for what is none."""
    sites = [host_of(each) for each in given]
    known = settings.sites
    if not all(is_site(each, known) for each in sites):
        raise Problem(422, "invalid", f"a site is one of {', '.join(known) or 'the hosts of your pages'}")
    return sites


async def _changed(worker: WorkerContext, change: Callable[[DataDirectory], _T]) -> _T:
    try:
        return await changed(lambda: change(worker.data), "tokens")
    except TemporaryFailure as error:  # a store that cannot be reached, or a lock
        raise Problem(503, "store_unavailable", "tokens cannot be changed now; ask again", retry_after_s=15) from error
