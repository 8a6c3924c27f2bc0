"""Consent: what the head and the batch say about it. Pure functions.

Among several answers any no is a no: in a header that came twice or was joined with
commas, in one of two cookies of the same name, beside a yes from another place. What is
neither a yes nor the absence of an answer is a no.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from multidict import MultiMapping

from ingest.http.problem import Problem
from shared.settings import Settings

Headers = MultiMapping[str]
ConsentBasis = Literal["granted", "implied"]

GRANTED = "granted"
# What Sec-GPC and DNT may say without asking for anything: `null` is what a script
# reads where DNT is not set. DNT may have letters after its 1.
_NO_SIGNAL = frozenset(["", "0", "?0", "false", "null", "undefined", "unspecified"])
_BLANKS_AND_QUOTES = " \t\"'"


def consent_from_headers(headers: Headers, settings: Settings) -> ConsentBasis | None:
    """The consent that the head gives, or None. Raises Problem 403 for any no."""
    if (settings.honor_gpc and "Sec-GPC" in headers and _is_signalled(headers.getall("Sec-GPC"))) or (
        settings.honor_dnt and "DNT" in headers and _is_signalled(headers.getall("DNT"))
    ):
        raise Problem(403, "consent", "the browser asks not to be tracked")
    by_cookie = _cookie(headers, settings.consent_cookie) if "Cookie" in headers else None
    by_header = _header(headers) if "Foldlog-Consent" in headers else None
    if by_cookie is False or by_header is False:
        raise _not_given()
    if by_cookie or by_header:
        return "granted"
    return "implied" if settings.consent == "implied" else None


def resolve_consent(given: str | None, before: ConsentBasis | None) -> ConsentBasis:
    """The consent of the batch, else that of the head. Raises Problem 403 when neither
    gives it.
    """
    if given == GRANTED:
        return "granted"
    if given is not None or before is None:
        raise _not_given()
    return before


def _not_given() -> Problem:
    return Problem(403, "consent", 'consent was not given: send "granted" in the cookie, the batch or Foldlog-Consent')


def _is_signalled(values: list[str]) -> bool:
    """Whether one of the values asks not to be tracked."""
    words = (word.strip(_BLANKS_AND_QUOTES) for value in values for word in value.replace(";", ",").split(","))
    return any(word.lower() not in _NO_SIGNAL for word in words)


def _header(headers: Headers) -> bool:
    values = headers.getall("Foldlog-Consent")
    return all(word.strip(_BLANKS_AND_QUOTES) == GRANTED for value in values for word in value.split(","))


def _cookie(headers: Headers, wanted: tuple[str, str]) -> bool | None:
    """What the cookies of that name say; None if there is none. HTTP/2 may send each
    cookie in a line of its own.
    """
    name, value = wanted
    said_yes = None
    for mark, before, found, said in _named(name, "," in value).findall("; ".join(headers.getall("Cookie"))):
        if said.strip().strip('"') != value:
            return False
        # After a comma it may be a part of another cookie's value, which is no yes; nor
        # is it one in another spelling.
        if found == name and mark != "," and not before.strip(" \t"):
            said_yes = True
    return said_yes


@lru_cache(maxsize=16)
def _named(name: str, has_comma: bool) -> re.Pattern[str]:
    """Matches a cookie of this name in any case, behind any blanks and quotes: its
    mark, these, its name, its value. Some proxies join lines of cookies with commas.
    """
    marks, odd = ";" if has_comma else ";,", r"[\s\"']*"
    pattern = rf"(^|[{marks}])({odd})({re.escape(name)}){odd}(?:=([^{marks}]*)|(?=[{marks}]|$))"
    return re.compile(pattern, re.IGNORECASE)
