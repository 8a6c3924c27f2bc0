"""What the cells of an export say: times, numbers, addresses, languages, countries.
Pure functions, whose cost is that of the text.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from urllib.parse import quote_from_bytes, urlsplit
from zoneinfo import ZoneInfo

URL_MAX = 2000
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))? ?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(?:[-_].*)?", re.DOTALL)
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_NO_COUNTRIES = ("XX", "ZZ")
_KEPT = "".join(map(chr, range(0x21, 0x7F)))


def time_ms(text: str, zone: ZoneInfo | None) -> int | None:
    """Epoch milliseconds of `2026-03-01 10:00:00.123+00`, in `zone` where the text says
    none. None: it is no time, or needs a zone.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or (zone is None and not match[4]):
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[4] or ''}")
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None
    return int(seconds) * 1000 + int((match[3] or "")[:3].ljust(3, "0"))


def number_of(text: str) -> float | None:
    """A number; not finite where the text is none."""
    if not text:
        return None
    return float(text) if _NUMBER.fullmatch(text) else math.inf


def url_of(host: str, path: str, query: str = "") -> str:
    """An https URL, spelled as a browser has it and cut where it is too long."""
    path = path if path.startswith("/") else f"/{path}"
    return spelled(f"https://{host}{path}{'?' if query else ''}{query.removeprefix('?')}")


def spelled(url: str) -> str:
    """What is not ASCII or blank percent-encoded, at most URL_MAX characters."""
    return quote_from_bytes(url[: 4 * URL_MAX].encode("utf-8", "replace"), safe=_KEPT)[:URL_MAX]


def is_page(url: str) -> bool:
    return url[:8].lower().startswith(("http://", "https://"))


def host_in(url: str) -> str:
    """The host of a URL; empty where it has none."""
    try:
        return (urlsplit(url).hostname or "") if is_page(url) else ""
    except ValueError:
        return ""


def language_of(text: str) -> str:
    match = _LANGUAGE.fullmatch(text)
    return match[1].lower() if match else ""


def country_of(text: str) -> str:
    return text.upper() if _COUNTRY.fullmatch(text) and text.upper() not in _NO_COUNTRIES else ""
