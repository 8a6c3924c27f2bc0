"""GET /v1/pixel.gif: one event of mail, or of a page without scripts, sent by an image.

Neither brings an Origin, consent or a cookie. The key `k` in the address takes the
place of the origin: it says the site and what the event is (shared/pixel_keys.py).
Consent, own traffic, limits, validation and durability are those of any page's event:
this is a door and an adapter of `post_events`, and no second way in.

Everyone who gets the mail sees the key, so it gives no power of a server's: no time, no
visitor, no `client` from outside, and the id is made here.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.collect.admission import BodyFormat, Sender, check_seen
from ingest.collect.body import JSON
from ingest.collect.consent import consent_from_headers
from ingest.collect.handler import Door, post_events
from ingest.collect.native import decode
from ingest.collect.validate import BatchOutcome
from ingest.context import WorkerContext
from ingest.http.client_address import Client
from ingest.http.image import image
from ingest.http.problem import Problem
from shared.pixel_keys import KEY_MAX_CHARS, parse_pixel_key
from shared.tokens import digest

PARAMETERS = frozenset({"k", "url", "consent"})

__all__ = ["answer", "decode", "get_pixel"]


async def get_pixel(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """Store one event, and answer with an image. 200 means synced to disk (202 with
    FOLDLOG_DURABILITY=os). A problem becomes an image as well (router.py).
    """
    return await post_events(worker, request, _ADAPTER, Door(_admit, _read))


def answer(_request: BaseRequest, outcome: BatchOutcome, status: int, _cors: dict[str, str]) -> web.StreamResponse:
    """The image; where the event was rejected, with the code of why."""
    codes = [each.code for each in outcome.rejected]
    return image(status, {"Foldlog-Problem": codes[0]} if codes else None)


class _Adapter:
    """A batch as a page sends it, and an image for an answer."""

    decode = staticmethod(decode)
    answer = staticmethod(answer)


_ADAPTER = _Adapter()


async def _admit(worker: WorkerContext, request: BaseRequest, _client: Client) -> tuple[BodyFormat, Sender]:
    """Who sends is whom the key names. Costs one SHA-256 of the key."""
    headers, settings = request.headers, worker.settings
    check_seen(headers)
    key = _parameters(request)["k"]
    if len(key) > KEY_MAX_CHARS or not worker.keyring.has_pixel(digest(key)):
        raise Problem(403, "pixel", "k is no key of a pixel: it was altered or revoked")
    site = parse_pixel_key(key).site
    if settings.sites and site not in settings.sites:
        raise Problem(403, "origin", "the site of this pixel is not one of FOLDLOG_SITES")
    consent = consent_from_headers(headers, settings)
    return BodyFormat(JSON, None), Sender(site, False, False, settings.max_body_bytes, consent)


async def _read(worker: WorkerContext, request: BaseRequest, _sender: Sender) -> bytes:
    """The batch that a page would have sent. The request counts for its key here, once
    it has been counted for its address. Raises Problem 429.
    """
    given = _parameters(request)
    key = given["k"]
    if limit := worker.settings.rate_limit_pixel:
        worker.rate_limiter.check_secret(f"pixel {digest(key).hex()}", limit, "pixel")
    use = parse_pixel_key(key)
    event: dict[str, object] = {"name": use.name}
    if "url" in given:
        event["url"] = given["url"]
    if use.campaign:
        event["props"] = {"campaign": use.campaign}
    return msgspec.json.encode({"events": [event], "consent": given.get("consent")})


def _parameters(request: BaseRequest) -> dict[str, str]:
    """The query. Raises Problem 400 for what is not in it, unknown, or said twice."""
    query = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    # Counted before it is taken apart: what many signs `&` cost is bounded by one look.
    pairs = parse_qsl(query, keep_blank_values=True) if query.count("&") < len(PARAMETERS) else []
    given = dict(pairs)
    if len(given) != len(pairs) or not given.keys() <= PARAMETERS or "k" not in given:
        raise Problem(400, "query", "a pixel takes k, url and consent, each once")
    return given
