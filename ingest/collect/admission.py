"""Admission: whether a request may write, decided from its head before its body is
read. Pure functions, cheapest check first.

method (the router) → size → media type → key or same origin → consent (`admit`) → rate
limit → disk reserve → queue (called by `post_events`). Consent may still come from the
batch, and only the batch tells how many events there are. Each raises Problem. Pages
repeat the same few headers, so results that depend on headers alone are cached.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from multidict import MultiMapping

from ingest.collect.body import ENCODINGS, MEDIA_TYPES
from ingest.collect.consent import ConsentBasis, consent_from_headers
from ingest.http.problem import Problem, body_too_large
from shared.host_names import SITE, comparable, host_of, listed_site, lower_host
from shared.settings import Settings
from shared.tokens import Scope

KEY_BODY_MAX_BYTES = 1 << 20
RETRY_AFTER_S = 30
PREFLIGHT_S = 7200  # the longest that browsers keep it
_CACHED = 1024
# What is remembered of longer headers is worked out anew, so that what is remembered is
# bounded in bytes.
_CACHED_CHARS = 300
_LANGUAGE_CHARS = 64
_LENGTH_DIGITS = 15
_CHARSET = re.compile(r"(?:^|[;\s])charset\s*=\s*[\"']?([^\s;\"',]*)")
# Without hyphens, which clients write or not. ASCII is a part of it, 65001 its number
# under Windows; an empty name says nothing.
_UTF_8 = {"", "utf8", "utf8sig", "unicode11utf8", "cp65001", "usascii", "ascii"}
_HYPHENS = str.maketrans("", "", "-_")
# Names of RFC 9110 for what has another one, or is none.
_ENCODINGS = {"x-gzip": "gzip", "identity": ""}
# How agents of people begin; servers and their libraries begin otherwise.
_BROWSERS = ("Mozilla/", "Opera/", "Dalvik/", "UCWEB/", "BlackBerry", "Nokia", "SAMSUNG-")
_BEFORE_A_VISIT = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_PURPOSES = ("prefetch", "prerender", "preview")
# Those of browsers and apps are shorter, and stay whole.
AGENT_MAX_BYTES = 500
# Control characters become `?`.
_VISIBLE = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))
_ORIGIN = re.compile(r"https?://[^/?#@%\s]+", re.IGNORECASE)

Headers = MultiMapping[str]


class BodyFormat(NamedTuple):
    """Media type and Content-Encoding of the body."""

    media_type: str
    encoding: str | None


class Sender(NamedTuple):
    """A page of `site`, or a server with a key (`keyed`). `consent` is None while only
    the batch can still give it.

    `cross_origin`: a page of a configured site on another host, whose browser hides the
    answer from it unless the answer has CORS headers.
    """

    site: str
    keyed: bool
    cross_origin: bool
    body_max_bytes: int
    consent: ConsentBasis | None


def admit(
    headers: Headers, host: str, scopes: frozenset[Scope] | None, settings: Settings
) -> tuple[BodyFormat, Sender]:
    """Every check of a request's head. `host` is the host it was sent to; `scopes` are
    those of its key (None: no key).
    """
    get = headers.get
    limit = settings.max_body_bytes if scopes is None else max(KEY_BODY_MAX_BYTES, settings.max_body_bytes)
    check_length(get("Content-Length", "").lstrip("0"), limit)
    content_type, encoding = get("Content-Type", ""), get("Content-Encoding", "")
    is_short = len(content_type) + len(encoding) <= _CACHED_CHARS
    fmt = (body_format if is_short else body_format.__wrapped__)(content_type, encoding)
    if scopes is not None:
        check_key(scopes)
        site, cross_origin = settings.sites[0] if settings.sites else site_of(host), False
    else:
        check_seen(headers)
        fetch_site, claimed = get("Sec-Fetch-Site"), get("Origin", get("Referer"))
        is_short = len(fetch_site or "") + len(claimed or "") + len(host) <= _CACHED_CHARS
        find_site = same_origin if is_short else same_origin.__wrapped__
        site, cross_origin = find_site(fetch_site, claimed, host, settings.sites)
    return fmt, Sender(site, scopes is not None, cross_origin, limit, consent_from_headers(headers, settings))


@lru_cache(maxsize=_CACHED)
def check_length(digits: str, max_bytes: int) -> None:
    """Reject a body by its Content-Length (without zeros in front), before a byte of it
    is read.
    """
    if len(digits) > _LENGTH_DIGITS or int(digits or "0") > max_bytes:
        raise body_too_large(max_bytes)


@lru_cache(maxsize=_CACHED)
def body_format(content_type: str, content_encoding: str) -> BodyFormat:
    """Media type and encoding of the body."""
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    if media_type not in MEDIA_TYPES:
        raise Problem(415, "media_type", "send application/json, application/x-ndjson or text/plain")
    if not set(_CHARSET.findall(parameters.lower().translate(_HYPHENS))) <= _UTF_8:
        raise Problem(415, "media_type", "send UTF-8")
    encoding = content_encoding.strip().lower()
    encoding = _ENCODINGS.get(encoding, encoding)
    if encoding and encoding not in ENCODINGS:
        raise Problem(415, "content_encoding", "send the body uncompressed, or compressed with gzip or zstd")
    return BodyFormat(media_type, encoding or None)


def check_key(scopes: frozenset[Scope]) -> None:
    """A key must be valid, and of a scope that may write."""
    if not scopes:
        raise Problem(401, "key", "the key is not valid")
    if not scopes & {"ingest", "admin"}:
        raise Problem(403, "scope", "this key may not write events")


def check_seen(headers: Headers) -> None:
    """Refuse what a page sends that the browser loads in advance: perhaps its visitor
    never sees it.
    """
    for name in _BEFORE_A_VISIT:
        if name in headers and any(purpose in ",".join(headers.getall(name)).lower() for purpose in _PURPOSES):
            detail = "the page is loaded in advance; send its events once it is seen (prerenderingchange)"
            raise Problem(403, "prerender", detail)


@lru_cache(maxsize=_CACHED)
def same_origin(fetch_site: str | None, claimed: str | None, host: str, sites: tuple[str, ...]) -> tuple[str, bool]:
    """The site whose page sent this, and whether that is on another host than ours.
    Raises Problem 403 when the headers do not show it, or it is not one of `sites`,
    where there are any; `www.` is no difference.

    `claimed` is the Origin header, else the Referer; `host` is our own, in lower case.
    A page cannot choose these headers, but any other client can, `Host` included: it
    must not make sites by that.
    """
    if claimed == "null" and fetch_site == "same-origin":
        claimed = None  # Referrer-Policy: no-referrer hides the origin, and the browser says itself that it is ours
    netloc = _netloc(claimed) if claimed is not None else host
    site = site_of(netloc)
    listed = listed_site(site, sites)
    scheme = (claimed or "").partition(":")[0].lower()
    if fetch_site == "same-origin":
        is_ours = site == host_of(host)  # the browser compared ports; proxies lose them
    else:
        is_ours = fetch_site is None and claimed is not None and comparable(netloc, scheme) == comparable(host, scheme)
    # "none" is a navigation, which sends no events.
    is_known = claimed is not None and listed is not None and fetch_site != "none"
    if not is_ours and not is_known:
        raise Problem(403, "origin", "events must come from a page of this site or of FOLDLOG_SITES, or with a key")
    if sites and listed is None:
        raise Problem(403, "origin", "this host is not one of FOLDLOG_SITES; where that is set it lists every site")
    return listed or site, not is_ours


def cors(headers: Headers, settings: Settings) -> dict[str, str]:
    """The headers that let a page of a configured site read the answer; none for other
    pages.
    """
    origin = headers.get("Origin")
    if origin is None or not settings.sites or headers.get("Sec-Fetch-Site") == "same-origin":
        return {}
    try:
        site = site_of(_netloc(origin)) if _ORIGIN.fullmatch(origin) else ""
        known = listed_site(site, settings.sites) is not None
    except Problem:
        known = False
    # Answers differ by Origin: without Vary a cache could serve one site's answer to
    # another.
    if not known:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After",
    }


def preflight(headers: Headers, settings: Settings) -> Mapping[str, str]:
    """The headers that allow a browser to send events for a page of another host.
    Raises Problem 403.
    """
    allowed = cors(headers, settings)
    if "Access-Control-Allow-Origin" not in allowed:
        raise Problem(403, "origin", "pages of this origin may not send events; FOLDLOG_SITES lists the sites that may")
    return {
        **allowed,
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Content-Type, Content-Encoding, Foldlog-Consent",
        "Access-Control-Max-Age": str(PREFLIGHT_S),
    }


def _netloc(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return lower_host(parts.netloc.rpartition("@")[2]) if parts.scheme in {"http", "https"} else ""


def site_of(netloc: str) -> str:
    """The host name without its port. Raises Problem for anything else, because the
    site becomes a value in reports.
    """
    site = host_of(netloc)
    if not SITE.fullmatch(site):
        raise Problem(403, "origin", "the request does not show which site it is from")
    return site


def visitor_user_agent(ua: str | None, *, keyed: bool) -> str | None:
    """The visitor's user agent, of at most `AGENT_MAX_BYTES` as it is written. With a
    key the sender is a server, so only a browser's agent can be the visitor's, passed
    on.
    """
    if not ua or (keyed and not ua.startswith(_BROWSERS)):
        return None
    ua = ua[:AGENT_MAX_BYTES]
    if not ua.isprintable():  # as are bytes that are not UTF-8: they arrive as surrogates
        ua = ua.encode("ascii", "replace").translate(_VISIBLE).decode("ascii")
    escapes = ua.count('"') + ua.count("\\")
    if escapes or not ua.isascii():
        ua = _cut(ua, escapes)
    return ua


def _cut(text: str, escapes: int) -> str:
    """The beginning of a printable text that JSON writes in `AGENT_MAX_BYTES`."""
    encoded = text.encode("utf-8")
    if len(encoded) + escapes <= AGENT_MAX_BYTES:
        return text
    return encoded[: AGENT_MAX_BYTES - escapes].decode("utf-8", "ignore")


def language(accept: str | None) -> str | None:
    """The primary language of an Accept-Language header, or of a locale: `de` from
    `de-DE,en;q=0.5` and `de_DE.UTF-8`.
    """
    return _language(accept[:_LANGUAGE_CHARS]) if accept else None


@lru_cache(maxsize=_CACHED)
def _language(accept: str) -> str | None:
    tag = accept.partition(",")[0].partition(";")[0].strip().replace("_", "-").partition("-")[0].lower()
    return tag if 2 <= len(tag) <= 3 and tag.isascii() and tag.isalpha() else None


def check_disk(free_bytes: int | None, reserve_bytes: int) -> None:
    """Reject early, while there is still space to fold and to delete (P10)."""
    if reserve_bytes and free_bytes is not None and free_bytes < reserve_bytes:
        raise Problem(
            507, "disk_reserve", "the disk is nearly full; events are not accepted", retry_after_s=RETRY_AFTER_S
        )


def check_queue(full: bool) -> None:
    """Reject while the write queue is full, before a body is read in vain."""
    if full:
        raise Problem(503, "busy", "the write queue is full", retry_after_s=1)


def check_count(events: int, max_events: int) -> None:
    """Reject a batch of more than FOLDLOG_MAX_EVENTS events."""
    if events > max_events:
        raise Problem(413, "too_many_events", f"a request may have at most {max_events} events")
