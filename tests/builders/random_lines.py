"""Lines of several days and sites, of which some repeat others."""

from __future__ import annotations

import random

from ingest.collect.encode import Line
from tests.builders.archive import HOUR_MS
from tests.builders.logs import FIREFOX, GOOGLEBOT, NOON, line

DAY_MS = 24 * HOUR_MS


def random_lines(pick: random.Random, now_ms: int, count: int, first: int) -> list[Line]:
    """Some are repeats. The time follows from the id: seven days before NOON to one
    after.
    """
    numbers = [pick.randrange(first + count) for _ in range(count)]
    return [
        line(
            f"event-{number}",
            NOON - 7 * DAY_MS + number * 37 % (8 * 96) * HOUR_MS // 4,
            now_ms,
            site=f"site{number * 7 % 4}.example",
            name=pick.choice(["pageview", "signup"]),
            visitor=pick.choice(["ann", "bob", "cat", None]),
            url=f"https://example.com/{int(pick.triangular(0, 14, 0))}{pick.choice(['', '?utm_source=news'])}",
            referrer=pick.choice(["https://other.org/", None]),
            ua=pick.choice([FIREFOX, FIREFOX, GOOGLEBOT]),
        )
        for number in numbers
    ]
