"""What only a demo has (FOLDLOG_DEMO): the sample shop at /demo/, and POST
/admin/api/sign-in, which exchanges the one-time code of `foldlog demo` for a token.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.static_file import static_file
from ingest.context import WorkerContext
from ingest.http.auth import require_same_site
from ingest.http.body_reader import read_body
from ingest.http.problem import Problem
from ingest.http.router import Route
from shared.sign_in_code import is_right, spend
from shared.tokens import digest

_BODY_MAX_BYTES = 1024
# The shop loads nothing from other hosts, and may not be framed.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_FILES = ("shop.js", "shop.css")


class _SignIn(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


_SIGN_IN = msgspec.json.Decoder(_SignIn)


async def post_sign_in(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """A new admin token for the code, which works once.

    Raises Problem 400, 401 for a code that is wrong, used or expired, 403 for a page of
    another site, 429 where too many codes or tokens were guessed.
    """
    require_same_site(worker, request)
    body = await read_body(request, _BODY_MAX_BYTES, worker.body_budget)
    try:
        code = _SIGN_IN.decode(body).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Problem(400, "malformed", 'the body is JSON such as {"code":"…"}') from None
    address = worker.proxies.identify(request.remote or "", request.headers).address
    now = worker.now_ms()
    found = is_right(worker.data, code, now)
    await worker.token_guesses.admit(address, digest(code), is_right=found)
    secret = await asyncio.to_thread(spend, worker.data, code, now) if found else None
    if secret is None:
        raise Problem(401, "token", "this sign-in link was used, or is no longer valid; the demo prints another one")
    worker.log.info("token_created", reason="a sign-in code was used")
    return web.json_response({"token": secret}, headers={"Cache-Control": "no-store"})


async def _redirect(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
    return web.Response(status=308, headers={"Location": "demo/"})


def routes() -> list[Route]:
    """These routes. Reads the files of the shop."""
    return [
        ("POST", "/admin/api/sign-in", post_sign_in),
        ("GET", "/demo", _redirect),
        ("GET", "/demo/", static_file("demo/index.html", _HEADERS)),
        *(("GET", f"/demo/{name}", static_file(f"demo/{name}", _HEADERS)) for name in _FILES),
    ]
