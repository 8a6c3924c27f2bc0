"""Dimensions that no counter has: they are computed from an archived event when they
are asked for, so that a better rule holds for all of history. Pure; docs/reports.md
defines each.
"""

from __future__ import annotations

import re

from shared.schema import DIMENSIONS
from shared.sql.visits import ENDS_OF_VISITS

PROPS = "props."
# A parameter of the query of `url`.
QUERY = "query."
KEY_MAX = 100

# Of columns that the archive has, and a cluster, too.
STORED = ("region", "city", "screen")
COMPUTED = (
    *("hostname", "utm_term", "utm_content", "channel"),
    *("browser_version", "os_version", "not_found"),
)
UNCOUNTED = (*COMPUTED, *STORED)


def is_computed(name: str) -> bool:
    """Whether only DuckDB's SQL computes it."""
    return name in COMPUTED or name.startswith(QUERY)


# What has a value of its own: of an event, or of a visit.
NAMES = (*DIMENSIONS, *UNCOUNTED, *ENDS_OF_VISITS)

SEARCH_ENGINES = (
    *("google", "bing", "duckduckgo", "yahoo", "baidu", "yandex", "ecosia", "qwant"),
    *("startpage", "kagi", "naver", "seznam", "brave"),
)
SOCIAL_NETWORKS = (
    *("facebook", "instagram", "twitter", "linkedin", "reddit", "youtube", "tiktok", "pinterest"),
    *("threads", "mastodon", "bsky", "vk", "whatsapp", "telegram", "discord", "snapchat"),
)
SOCIAL_HOSTS = ("t.co", "x.com", "x", "lnkd.in", "t.me", "youtu.be", "fb")
PAID_MEDIA = r"(?i)^(?:cp[acmv]|ppc|paid.*|retargeting|.*[-_]paid)$"
# A medium that says the channel by itself.
CHANNEL_OF_MEDIUM = (
    (r"(?i)^e-?mail$|^newsletter$", "Email"),
    (r"(?i)^affiliates?$", "Affiliates"),
    (r"(?i)^(?:display|banner)$", "Display"),
    (r"(?i)^(?:sms|push|audio|video)$", "Other"),
    (r"(?i)^social(?:-network|-media)?$", "Organic Social"),
    (r"(?i)^organic$", "Organic Search"),
)
# Browsers as the dimension `browser` has them, and where their version stands.
VERSION_OF_BROWSER = (
    (("Chrome", "Chrome Mobile", "Chrome Mobile WebView", "HeadlessChrome"), r"Chrome/(\d+)"),
    (("Chrome Mobile iOS",), r"CriOS/(\d+)"),
    (("Firefox", "Firefox Mobile"), r"Firefox/(\d+)"),
    (("Firefox iOS",), r"FxiOS/(\d+)"),
    (("Safari", "Mobile Safari"), r"Version/(\d+)"),
    (("Edge", "Edge Mobile"), r"Edg(?:A|iOS|e)?/(\d+)"),
    (("Opera", "Opera Mobile"), r"(?:OPR|OPiOS)/(\d+)"),
    (("Samsung Internet",), r"SamsungBrowser/(\d+)"),
)
VERSION_OF_OS = (
    (("Windows",), r"Windows NT (\d+\.\d+)"),
    (("Mac OS X",), r"Mac OS X (\d+[._]\d+)"),
    (("iOS",), r"(?:iPhone OS|CPU OS|iOS) (\d+)"),
    (("Android",), r"Android (\d+)"),
)
NOT_FOUND_EVENTS = ("404", "not_found")
NOT_FOUND_STATUS = ("404", "410")


def is_uncounted(name: str | None) -> bool:
    """Whether events are counted by it from the archive alone."""
    return name is not None and (name in UNCOUNTED or has_key(name))


def has_key(name: str) -> bool:
    return name.startswith((PROPS, QUERY))


def of_hosts(names: tuple[str, ...]) -> str:
    """A regular expression of RE2 for a source that is one of these names, or a host of
    theirs below any country.
    """
    return f"(?i)^(?:.*\\.)?(?:{'|'.join(map(re.escape, names))})(?:\\.[a-z]{{2,4}}){{0,2}}$"
