"""Browser, system, device class and bot flag of a user agent. The fold derives them, so
that a rebuild can apply better rules (P11).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import crawleruseragents
import ua_parser

_TABLET = re.compile(r"iPad|Tablet|PlayBook|Silk(?!.*Mobile)|Android(?!.*Mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"Mobi|iPhone|iPod|Android|Opera Mini|IEMobile|BlackBerry", re.IGNORECASE)
_DESKTOP = re.compile(r"Windows NT|Macintosh|X11|CrOS|Linux x86_64", re.IGNORECASE)


class UserAgent(NamedTuple):
    """What a user agent contains; None where it contains nothing."""

    ua: str
    browser: str | None
    os: str | None
    device: str | None
    bot: bool


@lru_cache(maxsize=50_000)
def parse_user_agent(ua: str) -> UserAgent:
    """Cached: a compactor sees the same user agents in every pass."""
    parsed = ua_parser.parse(ua)
    browser = parsed.user_agent.family if parsed.user_agent else None
    system = parsed.os.family if parsed.os else None
    spider = parsed.device is not None and parsed.device.family == "Spider"
    return UserAgent(ua, browser, system, device_class(ua), spider or crawleruseragents.is_crawler(ua))


def device_class(ua: str) -> str | None:
    """`tablet`, `mobile` or `desktop`."""
    for kind, pattern in (("tablet", _TABLET), ("mobile", _MOBILE), ("desktop", _DESKTOP)):
        if pattern.search(ua):
            return kind
    return None
