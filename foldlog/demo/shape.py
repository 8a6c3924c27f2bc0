"""How many visits a site has on a day, and at which times: week, growth, campaigns and
a launch.
"""

from __future__ import annotations

import random
from datetime import date
from typing import NamedTuple

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

# Monday to Sunday. Both are visited from desks; on Sundays some have time to shop.
WEEK = {
    "shop": (1.06, 1.1, 1.08, 1.06, 0.98, 0.68, 0.8),
    "blog": (1.14, 1.2, 1.16, 1.1, 0.98, 0.58, 0.62),
}
# Shares of the hours of a day, UTC, for visitors of whom most live in Europe.
HOURS = {
    "shop": (7, 4, 3, 2, 3, 6, 12, 21, 30, 36, 39, 42, 46, 42, 40, 41, 44, 50, 58, 66, 68, 54, 32, 15),
    "blog": (8, 5, 4, 4, 5, 9, 20, 42, 62, 66, 62, 54, 46, 55, 60, 56, 46, 36, 32, 34, 36, 30, 20, 12),
}
VISITS = {"shop": 200.0, "blog": 150.0}
GROWTH = 0.35
NOISE = 0.06
# A launch brings this many times the usual visits, and less each day after it.
LAUNCH = {"shop": (2.6, 1.9, 1.4, 1.2), "blog": (4.2, 2.4, 1.6, 1.2)}
LAUNCH_AT = 0.74
NEWSLETTERS = (0.14, 0.42, 0.9)
NEWSLETTER_SHARE = 0.35


class Day(NamedTuple):
    """A day of the demo: its place among them, from 0 at the first to 1 at the last."""

    date: date
    number: int
    days: int

    @property
    def place(self) -> float:
        return self.number / max(1, self.days - 1)

    def since(self, place: float) -> int:
        """The days since a place; negative before it."""
        return self.number - round(place * (self.days - 1))

    @property
    def has_newsletter(self) -> bool:
        return any(0 <= self.since(place) < 2 for place in NEWSLETTERS)

    @property
    def is_after_launch(self) -> bool:
        return 0 <= self.since(LAUNCH_AT) < len(LAUNCH["shop"])

    @property
    def has_ads(self) -> bool:
        """The weeks of an advertising campaign."""
        return 0.55 <= self.place < 0.85


def visits_of(site: str, day: Day, chance: random.Random) -> int:
    """How many visits a site has on a day."""
    usual = VISITS[site] * WEEK[site][day.date.weekday()] * (1 + GROWTH * day.place)
    launch = LAUNCH[site][day.since(LAUNCH_AT)] if day.is_after_launch else 1.0
    newsletter = 1 + NEWSLETTER_SHARE * day.has_newsletter
    return round(usual * launch * newsletter * max(0.5, chance.gauss(1, NOISE)))


def times_of(site: str, visits: int, chance: random.Random) -> list[int]:
    """When these visits begin, in milliseconds since midnight UTC."""
    hours = chance.choices(range(24), HOURS[site], k=visits)
    return sorted(hour * HOUR_MS + chance.randrange(HOUR_MS) for hour in hours)
