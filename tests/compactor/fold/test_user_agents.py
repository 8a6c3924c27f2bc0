"""User agents are parsed once while they are remembered. What is remembered is bounded
by bytes, because a client chooses them.
"""

from __future__ import annotations

import tracemalloc

import pytest
import ua_parser

from compactor.fold.user_agents import CACHED_MAX_CHARS, UserAgentCache, parse_user_agent
from tests.builders.logs import GOOGLEBOT

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
MAX_BYTES = 1 << 18


def test_parsed_agent_is_remembered() -> None:
    cache = UserAgentCache()
    first = cache.get(FIREFOX)
    assert cache.get(FIREFOX) is first
    assert (first.browser, first.os, first.device, first.bot) == ("Firefox", "Linux", "desktop", False)


@pytest.mark.parametrize("ua", [FIREFOX, GOOGLEBOT, "", "curl/8.0", "\U0001f600" * 9])
def test_agents_are_parsed_as_ua_parser_does(ua: str) -> None:
    expected = ua_parser.parse(ua)
    found = parse_user_agent(ua)
    assert found.browser == (expected.user_agent.family if expected.user_agent else None)
    assert found.os == (expected.os.family if expected.os else None)


def test_longest_agents_are_not_remembered() -> None:
    cache = UserAgentCache()
    cache.get("x" * CACHED_MAX_CHARS)
    assert len(cache) == 1
    assert cache.get(FIREFOX.ljust(CACHED_MAX_CHARS + 1)).browser == "Firefox"
    assert len(cache) == 1


@pytest.mark.parametrize("letter", ["x", "ä", "漢", "\U0001f600"], ids=["1 byte", "latin", "2 bytes", "4 bytes"])
def test_memory_of_many_agents_is_bounded(letter: str) -> None:
    cache = UserAgentCache(max_bytes=MAX_BYTES)
    cache.get(FIREFOX)  # the parsers' rules are loaded
    tracemalloc.start()
    for n in range(1000):
        cache.get(f"{n} {letter * 500}")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(cache) < 1000
    assert cache.bytes <= MAX_BYTES
    assert taken < 1.5 * MAX_BYTES


def test_agents_used_least_recently_are_dropped() -> None:
    cache = UserAgentCache(max_bytes=MAX_BYTES)
    first = cache.get(FIREFOX)
    old = cache.get("old")
    for n in range(1000):
        cache.get(f"{n} {'x' * 400}")
        assert cache.get(FIREFOX) is first
    assert cache.get("old") is not old
