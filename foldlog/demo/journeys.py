"""What visitors do: a shop with a funnel that leaks, and a blog.

The leak: of those who come to the checkout, few buy on a phone.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from foldlog.demo.people import Person

HOSTS = {"shop": "shop.localhost", "blog": "blog.localhost"}

# Path, name, price.
TEAS = (
    ("assam", "Assam Harmutty", 9.5), ("darjeeling", "Darjeeling First Flush", 19.0),
    ("sencha", "Sencha Kirisakura", 14.5), ("gyokuro", "Gyokuro Hikari", 29.0), ("oolong", "Milk Oolong", 17.5),
    ("earl-grey", "Earl Grey Blue", 8.5), ("rooibos", "Rooibos Vanilla", 7.0), ("pu-erh", "Pu-Erh 2015", 24.0),
)  # fmt: skip
TEA_SHARES = (20, 18, 14, 8, 11, 16, 9, 4)
POSTS = (
    "water-temperature", "cold-brew", "first-flush-explained", "caffeine-in-numbers", "gongfu-at-home",
    "how-to-store-tea", "matcha-without-lumps", "a-week-in-darjeeling", "tea-and-milk", "launch",
)  # fmt: skip
POST_SHARES = (24, 15, 11, 14, 8, 9, 7, 5, 4, 3)

# What a dashboard keeps as goals and as a filter, as their readers have made them.
GOALS = {"order": "event==order", "newsletter signup": "event==newsletter_signup"}
FILTERS = {"on phones": "device==mobile"}

# Of those at one step of the shop, how many take the next.
LOOKS, ADDS, CHECKS_OUT = 0.66, 0.3, 0.62
BUYS = {"phone": 0.31, "desktop": 0.74}
SUBSCRIBES = 0.045


class Step(NamedTuple):
    """Something that a visitor does, so many milliseconds after the visit began."""

    after_ms: int
    name: str
    path: str
    value: float | None = None
    props: dict[str, str | int] | None = None


def journey(site: str, person: Person, chance: random.Random) -> list[Step]:
    """The steps of one visit, in order."""
    return [*(_shop if site == "shop" else _blog)(person, chance)]


class _Walk(list[Step]):
    """The steps so far, with a while between them."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._at_ms = 0

    def go(self, name: str, path: str, value: float | None = None, props: dict[str, str | int] | None = None) -> None:
        self.append(Step(self._at_ms, name, path, value, props))
        self._at_ms += 2_000 + min(600_000, int(self._chance.expovariate(1 / 34_000)))


def _shop(person: Person, chance: random.Random) -> list[Step]:
    walk = _Walk(chance)
    walk.go("pageview", chance.choices(("/", "/teas", "/teas/darjeeling", "/gifts"), (55, 18, 17, 10))[0])
    if chance.random() > LOOKS:
        return walk
    basket: list[tuple[str, str, float]] = []
    for _ in range(1 + int(chance.expovariate(0.8))):
        if chance.random() < 0.4:
            walk.go("pageview", "/teas")
        (tea,) = chance.choices(TEAS, TEA_SHARES)
        walk.go("pageview", f"/teas/{tea[0]}")
        if chance.random() < ADDS and len(basket) < 6:
            basket.append(tea)
            walk.go("add_to_cart", f"/teas/{tea[0]}", tea[2], {"product": tea[1]})
    if basket and chance.random() < CHECKS_OUT:
        _check_out(walk, basket, person, chance)
    return walk


def _check_out(walk: _Walk, basket: list[tuple[str, str, float]], person: Person, chance: random.Random) -> None:
    walk.go("pageview", "/cart")
    walk.go("checkout", "/checkout")
    if chance.random() < BUYS["phone" if person.is_phone else "desktop"]:
        price = round(sum(tea[2] for tea in basket), 2)
        walk.go("order", "/thanks", price, {"products": len(basket), "shipping": chance.choice(("post", "courier"))})
        walk.go("pageview", "/thanks")


def _blog(_person: Person, chance: random.Random) -> list[Step]:
    walk = _Walk(chance)
    posts = chance.choices(POSTS, POST_SHARES, k=1 + int(chance.expovariate(1.3)))
    if chance.random() < 0.22:
        walk.go("pageview", "/")
    for post in posts:
        walk.go("pageview", f"/{post}")
    if chance.random() < SUBSCRIBES:
        walk.go("newsletter_signup", f"/{posts[-1]}", None, {"place": chance.choice(("footer", "popup"))})
    return walk
