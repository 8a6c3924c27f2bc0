"""Who comes: countries, languages, browsers, where they come from, and who comes
again.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from foldlog.demo.shape import Day

_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0"
DESKTOPS = {
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36": 30,
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_CHROME} Safari/537.36": 14,
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
    "Safari/605.1.15": 12,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0": 11,
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36 Edg/150.0.0.0": 11,
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0": 6,
}
PHONES = {
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
    "Mobile/15E148 Safari/604.1": 40,
    f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME} Mobile Safari/537.36": 38,
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 "
    "Chrome/136.0.0.0 Mobile Safari/537.36": 9,
    "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0": 3,
    "Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 "
    "Mobile/15E148 Safari/604.1": 8,
}
BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
)
# Country, language, share.
PLACES = (
    ("DE", "de", 26), ("GB", "en", 15), ("US", "en", 14), ("FR", "fr", 9), ("NL", "nl", 7), ("AT", "de", 6),
    ("CH", "de", 5), ("PL", "pl", 4), ("ES", "es", 4), ("IT", "it", 3), ("SE", "sv", 3), ("JP", "ja", 2),
    ("CA", "en", 2),
)  # fmt: skip
PHONE_SHARE = {"shop": 0.58, "blog": 0.34}
# Visitors whose client gives them an id that lasts; the others have a hash of the day.
KNOWN_SHARE = 0.55
RETURNING_SHARE = {"shop": 0.3, "blog": 0.24}
# Of the known visitors, those that may come again.
REMEMBERED = 1500


class Person(NamedTuple):
    """A visitor. `id`: as its client gives it; empty for one that has only a hash."""

    id: str
    agent: str
    is_phone: bool
    country: str
    language: str


class Arrival(NamedTuple):
    """How a visit begins: the page before, and the utm_ parameters of the first
    address.
    """

    referrer: str | None = None
    query: str = ""


DIRECT = Arrival()
ADS = Arrival("https://www.google.com/", "utm_source=google&utm_medium=cpc&utm_campaign=autumn-harvest")
NEWSLETTER = Arrival(None, "utm_source=newsletter&utm_medium=email&utm_campaign=first-flush")
LAUNCH = (
    Arrival("https://news.ycombinator.com/"),
    Arrival("https://www.reddit.com/"),
    Arrival("https://t.co/", "utm_source=x&utm_medium=social&utm_campaign=launch"),
)
USUAL = {
    "shop": (
        (DIRECT, 36), (Arrival("https://www.google.com/"), 34), (Arrival("https://duckduckgo.com/"), 6),
        (Arrival("https://www.bing.com/"), 5), (Arrival("http://blog.localhost/"), 9),
        (Arrival("https://www.instagram.com/", "utm_source=instagram&utm_medium=social&utm_campaign=always-on"), 7),
        (Arrival("https://chatgpt.com/"), 3),
    ),
    "blog": (
        (DIRECT, 25), (Arrival("https://www.google.com/"), 41), (Arrival("https://duckduckgo.com/"), 7),
        (Arrival("https://www.bing.com/"), 4), (Arrival("https://lobste.rs/"), 5),
        (Arrival("https://www.reddit.com/"), 8),
        (Arrival("https://chatgpt.com/"), 6), (Arrival("http://shop.localhost/"), 4),
    ),
}  # fmt: skip


class People:
    """The visitors of one site: new ones, and those that come again."""

    def __init__(self, site: str, chance: random.Random) -> None:
        self._site, self._chance = site, chance
        self._known: list[Person] = []

    def next(self) -> Person:
        """Who begins the next visit."""
        if self._known and self._chance.random() < RETURNING_SHARE[self._site]:
            return self._chance.choice(self._known)
        person = self._new()
        if person.id:
            if len(self._known) < REMEMBERED:
                self._known.append(person)
            else:
                self._known[self._chance.randrange(REMEMBERED)] = person
        return person

    def bot(self) -> Person:
        return Person("", self._chance.choice(BOTS), is_phone=False, country="US", language="en")

    def _new(self) -> Person:
        chance = self._chance
        is_phone = chance.random() < PHONE_SHARE[self._site]
        agents = PHONES if is_phone else DESKTOPS
        (agent,) = chance.choices([*agents], [*agents.values()])
        country, language, _ = chance.choices(PLACES, [share for _, _, share in PLACES])[0]
        id_ = f"c-{chance.getrandbits(64):016x}" if chance.random() < KNOWN_SHARE else ""
        return Person(id_, agent, is_phone, country, language)


def arrival_of(site: str, day: Day, chance: random.Random) -> Arrival:
    """Where a visit comes from, which depends on what happens on its day."""
    luck = chance.random()
    if day.is_after_launch and luck < 0.6:
        return chance.choice(LAUNCH)
    if day.has_newsletter and luck < 0.26:
        return NEWSLETTER
    if site == "shop" and day.has_ads and luck < 0.22:
        return ADS
    return chance.choices([way for way, _ in USUAL[site]], [share for _, share in USUAL[site]])[0]
