"""Browser, system, device class and bot flag of a user agent. The fold derives them, so
that a rebuild can apply better rules (P11).
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from functools import cache
from typing import NamedTuple

from ua_parser import BestAvailableResolver, Parser
from ua_parser.loaders import load_lazy_builtins

from compactor.fold.crawlers import is_tool
from compactor.fold.device_class import LOOKED_AT_CHARS, device_class

# A client chooses its user agent, so the cache is bounded by bytes: 16 MiB hold 30,000
# ordinary ones. A longer one is a tool's or made up, and parsed again in each pass.
CACHE_MAX_BYTES = 16 << 20
CACHED_MAX_CHARS = 512
_ENTRY_BYTES = 256  # the tuple, its place in the dictionary, the device class


class UserAgent(NamedTuple):
    """What a user agent contains; None where it contains nothing."""

    ua: str
    browser: str | None
    os: str | None
    device: str | None
    bot: bool


class UserAgentCache:
    """Parsed user agents. Those used least recently are dropped once all of them take
    more than `max_bytes`.
    """

    def __init__(self, max_bytes: int = CACHE_MAX_BYTES) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes
        self._parsed: OrderedDict[str, UserAgent] = OrderedDict()

    def get(self, ua: str) -> UserAgent:
        if len(ua) > CACHED_MAX_CHARS:
            return _parse(ua)
        if ua in self._parsed:
            self._parsed.move_to_end(ua)
            return self._parsed[ua]
        parsed = self._parsed[ua] = _parse(ua)
        self.bytes += _size(parsed)
        while self.bytes > self._max_bytes:
            self.bytes -= _size(self._parsed.popitem(last=False)[1])
        return parsed

    def __len__(self) -> int:
        return len(self._parsed)


def _size(parsed: UserAgent) -> int:
    return _ENTRY_BYTES + sum(map(sys.getsizeof, (parsed.ua, parsed.browser, parsed.os)))


# A compactor sees the same user agents in every pass.
_CACHE = UserAgentCache()


def parse_user_agent(ua: str) -> UserAgent:
    return _CACHE.get(ua)


def _parse(ua: str) -> UserAgent:
    start = ua[:LOOKED_AT_CHARS]
    browser, system, device = _parser().parse_user_agent(start), _parser().parse_os(start), device_class(start)
    return UserAgent(
        ua,
        browser.family if browser else None,
        system.family if system else None,
        device,
        is_tool(ua, device),
    )


@cache
def _parser() -> Parser:
    """ua_parser.parse has a cache of its own, which is bounded by number."""
    return Parser(BestAvailableResolver(load_lazy_builtins()))
