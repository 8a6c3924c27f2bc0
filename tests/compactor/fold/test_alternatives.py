"""Patterns are found where the expression finds them, whatever letters it holds."""

from __future__ import annotations

import re
import time

import crawleruseragents
import pytest

from compactor.fold.alternatives import Alternatives
from compactor.fold.user_agents import parse_user_agent

PATTERNS = {
    r"Foo\.bar": ("xFoo.bar", "Foo-bar"),
    r"^Foo": ("Foo", "aFoo"),
    r"colou?r": ("color", "colr"),
    r"ab*c": ("ac", "a"),
    r"ab+c": ("abbc", "ac"),
    r"a{2,3}b": ("aab", "ab"),
    r"x(?:yz)?w": ("xw", "xyz"),
    r"x(?:y|z)w": ("xzw", "xw"),
    r"[]|)]a": (")a", "a"),
    r"(^| )sentry\/": ("a sentry/", "asentry/"),
    r"(?<=; )Adr": ("; Adr", "Adr"),
    r"one|t[wW]o": ("tWo", "tw"),
    r"a\|b": ("a|b", "a"),
    r"\d+": ("7", "a"),
    "": ("", None),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_found_where_the_expression_matches(pattern: str) -> None:
    found, missed = PATTERNS[pattern]
    assert Alternatives("never", pattern).search(found)
    assert missed is None or not Alternatives("never", pattern).search(missed)


def test_case_is_ignored_on_demand() -> None:
    assert Alternatives(r"Smart-?TV|Roku", ignores_case=True).search("SMARTtv")
    assert not Alternatives(r"Smart-?TV|Roku").search("SMARTtv")


def test_each_crawler_of_the_list_is_found_by_its_pattern_alone() -> None:
    for crawler in crawleruseragents.CRAWLER_USER_AGENTS_DATA:
        alternatives, pattern = Alternatives(crawler["pattern"]), re.compile(crawler["pattern"])
        for ua in (*crawler["instances"], "Mozilla/5.0 (compatible)"):
            assert alternatives.search(ua) == (pattern.search(ua) is not None), (crawler["pattern"], ua)


@pytest.mark.parametrize("letters", ["x", "aB3 ", "Android; ", "Mobile TV bo"])
def test_long_agents_cost_little_more_than_short_ones(letters: str) -> None:
    """A pass reads each agent that a client makes up, 500 characters of it."""

    def cpu(length: int) -> float:
        agents = [f"Mozilla/5.0 {number:07d}{letters * 500}"[:length] for number in range(100)]
        start = time.process_time()
        for ua in agents:
            parse_user_agent(ua)
        return time.process_time() - start

    parse_user_agent("the rules are loaded")
    assert cpu(490) < 5 * cpu(49) + 0.02
