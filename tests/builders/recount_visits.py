"""The visits of a list of events, made one after another in plain Python: as
docs/reports.md says, and with nothing of the product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

GAP = timedelta(minutes=30)
LONGEST = timedelta(hours=24)


class Event(NamedTuple):
    """What an event says that a visit is made of."""

    time: datetime
    received: datetime
    id: str
    site: str = "example.com"
    visitor: str | None = "ann"
    session: str | None = None
    daily: bool | None = None
    bot: bool = False
    name: str = "pageview"
    path: str | None = "/"
    country: str | None = None
    sender: str | None = None
    # Whatever else a test compares of first events.
    seen: Any = None


class Visit(NamedTuple):
    begun_at: datetime
    ended_at: datetime
    site: str
    visitor: str
    session: str | None
    bot: bool
    events: int
    views: int
    others: int
    entry: str | None
    exit: str | None
    country: str | None
    seen: Any = None

    @property
    def is_bounce(self) -> bool:
        return self.views == 1 and not self.others


def visits_of(events: Iterable[Event], timezone: str = "UTC") -> list[Visit]:
    """All visits, in order."""
    return sorted(map(_visit, events_of_visits(events, timezone)), key=repr)


def events_of_visits(events: Iterable[Event], timezone: str = "UTC") -> list[list[Event]]:
    """The events of each visit, in order."""
    zone, chains = ZoneInfo(timezone), defaultdict(list)
    for each in events:
        if each.visitor is not None:
            day = each.time.astimezone(zone).date() if each.daily else None
            chains[each.site, each.visitor, each.bot, each.session, day].append(each)
    return [visit for chain in chains.values() for visit in _cut(chain)]


def _cut(chain: list[Event]) -> list[list[Event]]:
    found: list[list[Event]] = []
    for each in sorted(
        chain, key=lambda event: (event.time, event.received, event.id, event.sender is None, event.sender)
    ):
        is_new = not found or each.time >= found[-1][0].time + LONGEST
        if is_new or (each.session is None and each.time - found[-1][-1].time >= GAP):
            found.append([])
        found[-1].append(each)
    return found


def _visit(events: list[Event]) -> Visit:
    first, views = events[0], [each for each in events if each.name == "pageview"]
    paths = [each.path for each in views if each.path is not None]
    assert first.visitor is not None
    return Visit(
        first.time,
        events[-1].time,
        first.site,
        first.visitor,
        first.session,
        first.bot,
        len(events),
        len(views),
        sum(each.name not in {"pageview", "engaged"} for each in events),
        paths[0] if paths else None,
        paths[-1] if paths else None,
        first.country,
        first.seen,
    )
