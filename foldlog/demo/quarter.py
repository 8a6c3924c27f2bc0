"""All visits of the days up to now, day by day, and what must be counted of them.

The same seed and the same last moment give the same events.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from foldlog.demo.journeys import HOSTS, Step, journey
from foldlog.demo.people import Arrival, People, Person, arrival_of
from foldlog.demo.shape import DAY_MS, Day, times_of, visits_of
from shared.timestamps import utc_day

BOT_SHARE = 0.03


class Event(NamedTuple):
    """An event of a visit. `visitor`: the id that counts; `daily`: it is the hash of a
    day.
    """

    time_ms: int
    site: str
    step: Step
    person: Person
    arrival: Arrival | None  # of the first event of a visit
    visitor: str
    daily: bool
    is_bot: bool


def people_of_sites(seed: int) -> dict[str, People]:
    return {site: People(site, random.Random(f"{seed} people {site}")) for site in HOSTS}  # noqa: S311


def quarter(people: Mapping[str, People], seed: int, days: int, now_ms: int) -> Iterator[list[Event]]:
    """The events of each day, in order of their time, the last day up to `now_ms`.
    `people` remember who came.
    """
    today = utc_day(now_ms)
    for number in range(days):
        day = Day(today - timedelta(days - 1 - number), number, days)
        chance = random.Random(f"{seed} {number} {day.date.weekday()}")  # noqa: S311
        events = [event for site in HOSTS for event in _day_of_site(site, day, people[site], chance)]
        yield sorted((event for event in events if event.time_ms <= now_ms), key=lambda event: event.time_ms)


def _day_of_site(site: str, day: Day, people: People, chance: random.Random) -> Iterator[Event]:
    midnight_ms = start_of(day.date)
    for at_ms in times_of(site, visits_of(site, day, chance), chance):
        is_bot = chance.random() < BOT_SHARE
        person = people.bot() if is_bot else people.next()
        visitor = person.id or _hash(chance)
        arrival = arrival_of(site, day, chance)
        steps = journey(site, person, chance)
        for step in steps[:1] if is_bot else steps:
            if at_ms + step.after_ms >= DAY_MS:
                break  # a hash of the day ends with it
            first = arrival if step is steps[0] and not is_bot else None
            time_ms = midnight_ms + at_ms + step.after_ms
            yield Event(time_ms, HOSTS[site], step, person, first, visitor, not person.id, is_bot)


def start_of(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000


def _hash(chance: random.Random) -> str:
    """As the server makes one of an address."""
    return base64.urlsafe_b64encode(chance.randbytes(12)).decode("ascii")
