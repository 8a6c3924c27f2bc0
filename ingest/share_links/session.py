"""Sessions of share links: what a browser gets for the secret of a link, and its
password.

A page keeps its session in a cookie that no script reads (HttpOnly, SameSite=Strict).
An embedded page gets none of the cookies, being in a page of another site: it keeps a
shorter session in memory, and sends it in a header. A session is signed with the key of
its link, so that it ends with the link, and no worker has to remember it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Literal, NamedTuple

from aiohttp.web_request import BaseRequest

from ingest.http.problem import Problem
from ingest.share_links.links import ShareLink

Kind = Literal["page", "embed"]
LIFETIMES_S: dict[Kind, int] = {"page": 12 * 3600, "embed": 3600}
# Says which link a request is by; an embedded page sends its session behind the id. No
# page of another site can send it: it is no header of a form, a picture or a script.
HEADER = "Foldlog-Share"
_COOKIE = "foldlog_share_"
_HEADER = re.compile(r"(?P<id>[0-9a-f]{8})(?:\.(?P<session>[0-9a-f.]{1,100}))?")
_SESSION = re.compile(r"(?P<expires>[0-9a-f]{1,12})\.(?P<mac>[0-9a-f]{64})")
_COOKIES_LOOKED_AT = 100


class Given(NamedTuple):
    """Which link a request is by, and the session that it shows."""

    link_id: str
    session: str
    kind: Kind


def make_session(link: ShareLink, kind: Kind, at_ms: int) -> str:
    expires_s = at_ms // 1000 + LIFETIMES_S[kind]
    return f"{expires_s:x}.{_mac(link, kind, expires_s)}"


def is_session(link: ShareLink, kind: Kind, session: str, at_ms: int) -> bool:
    """Whether this is a session of the link that has not ended. Compared in constant
    time.
    """
    match = _SESSION.fullmatch(session)
    if match is None:
        return False
    expires_s = int(match["expires"], 16)
    return hmac.compare_digest(_mac(link, kind, expires_s), match["mac"]) and at_ms < expires_s * 1000


def _mac(link: ShareLink, kind: Kind, expires_s: int) -> str:
    text = f"foldlog share {link.id} {kind} {expires_s}"
    return hmac.new(bytes.fromhex(link.key), text.encode("ascii"), hashlib.sha256).hexdigest()


def set_cookie(link: ShareLink, session: str, origin: str) -> str:
    """The header that sets the cookie. It has no Path: then it is sent below the path
    of the request alone, also where a proxy has put that elsewhere. `origin`: of the
    page, which says whether the browser came over https.
    """
    secure = "; Secure" if origin.lower().startswith("https://") else ""
    return f"{_COOKIE}{link.id}={session}; Max-Age={LIFETIMES_S['page']}; HttpOnly; SameSite=Strict{secure}"


def given_session(request: BaseRequest) -> Given | None:
    """None for a request that is by no link. Raises Problem 403 for what is no session,
    and for anything but a GET.
    """
    header = request.headers.get(HEADER)
    if header is None:
        return None
    match = _HEADER.fullmatch(header)
    if match is None or request.method != "GET" or "Authorization" in request.headers:
        raise no_link()
    if match["session"] is not None:
        return Given(match["id"], match["session"], "embed")
    return Given(match["id"], _cookie(request.headers.getall("Cookie", []), f"{_COOKIE}{match['id']}"), "page")


def _cookie(headers: list[str], name: str) -> str:
    """The value of a cookie that is there once; else empty."""
    parts = ";".join(headers).split(";", _COOKIES_LOOKED_AT)
    found = [value for key, _, value in (part.strip().partition("=") for part in parts) if key == name]
    return found[0] if len(found) == 1 else ""


def no_link() -> Problem:
    """One answer for all that is not valid, so that none tells which links there are.
    It is no 401: a browser would ask for a password of the server's.
    """
    return Problem(403, "share", "this link is not valid, or no longer: ask for another one, or open it again")
