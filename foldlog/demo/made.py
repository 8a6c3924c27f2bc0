"""What the generator made, counted as reports must count it: without bots, an event
once, a visitor once.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec

from foldlog.demo.quarter import Event
from shared.timestamps import rfc3339

FUNNEL = ("/teas/*", "add_to_cart", "checkout", "order")


class Count(msgspec.Struct):
    """Events of one kind, who sent them, and the sum of their values."""

    events: int = 0
    visitors: int = 0
    value: float = 0.0


class SiteMade(msgspec.Struct):
    """`steps`: visitors that reached each step of FUNNEL, in this order."""

    total: Count
    events: dict[str, Count]
    steps: dict[str, int]


class Made(msgspec.Struct):
    """By site. `until`: the last moment that events may have; the trickle is later."""

    seed: int
    days: int
    until: str
    lines: int
    bots: int
    sites: dict[str, SiteMade]


class Tally:
    """Counts events as they are made."""

    def __init__(self) -> None:
        self.lines = self.bots = 0
        self._counts: dict[tuple[str, str], Count] = defaultdict(Count)
        self._visitors: dict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, events: list[Event]) -> None:
        self.lines += len(events)
        for event in events:
            if event.is_bot:
                self.bots += 1
            else:
                self._add(event)

    def _add(self, event: Event) -> None:
        name, path = event.step.name, event.step.path
        for key in ((event.site, ""), (event.site, name)):
            count = self._counts[key]
            count.events += 1
            count.value = round(count.value + (event.step.value or 0), 2)
            self._visitors[key].add(event.visitor)
        if name == "pageview" and path.startswith("/teas/"):
            self._visitors[event.site, FUNNEL[0]].add(event.visitor)

    def made(self, seed: int, days: int, until_ms: int) -> Made:
        sites = {site: self._site(site) for site in sorted({site for site, _ in self._counts})}
        return Made(seed, days, rfc3339(until_ms), self.lines, self.bots, sites)

    def _site(self, site: str) -> SiteMade:
        for key, count in self._counts.items():
            count.visitors = len(self._visitors[key])
        events = {name: count for (of, name), count in sorted(self._counts.items()) if of == site and name}
        steps = {step: len(self._visitors[site, step]) for step in FUNNEL if (site, step) in self._visitors}
        return SiteMade(self._counts[site, ""], events, steps)
