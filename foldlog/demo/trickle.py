"""The visits that go on while a demo runs, sent to it over HTTP as pages behind a proxy
send them.

Bounded: so many events, so many that wait, one visit a second at most.
"""

from __future__ import annotations

import heapq
import http.client
import json
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from foldlog.demo.journeys import HOSTS, Step, journey
from foldlog.demo.people import DIRECT, Arrival, People, Person, arrival_of
from foldlog.demo.place import COUNTRY_HEADER, TRICKLE_ADDRESS
from foldlog.demo.shape import Day
from shared.timestamps import now_ms, utc_day

EVENTS_MAX = 50_000
WAITING_MAX = 500
PAUSE_S = 6.0
PAUSE_MIN_S = 1.0
_POLL_S = 0.5
_TIMEOUT_S = 5.0
# Addresses of no host (RFC 5737): the server makes the visitors of a day of them.
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")


class _Due(NamedTuple):
    """A step of a visit that is under way."""

    at: float
    number: int
    site: str
    step: Step
    person: Person
    arrival: Arrival
    address: str


class Trickle:
    """Visits from now on, to the server at a port of this host."""

    def __init__(self, port: int, people: Mapping[str, People], seed: int, days: int) -> None:
        self._port, self._people, self._days = port, people, days
        self._chance = random.Random(f"{seed} trickle")  # noqa: S311
        self._waiting: list[_Due] = []
        self._numbers = count()
        self._next_visit = 0.0

    def start(self) -> None:
        """Go on in a thread until the process ends."""
        threading.Thread(target=self._run, name="trickle", daemon=True).start()

    def _run(self) -> None:
        sent = 0
        while sent < EVENTS_MAX:
            now = time.monotonic()
            if now >= self._next_visit:
                self._begin_visit(now)
            while self._waiting and self._waiting[0].at <= now:
                self._send(heapq.heappop(self._waiting))
                sent += 1
            time.sleep(_POLL_S)

    def _begin_visit(self, now: float) -> None:
        chance = self._chance
        self._next_visit = now + max(PAUSE_MIN_S, chance.expovariate(1 / PAUSE_S))
        site = chance.choices([*HOSTS], (57, 43))[0]
        person = self._people[site].next()
        arrival = arrival_of(site, Day(utc_day(now_ms()), self._days - 1, self._days), chance)
        address = f"{chance.choice(_NETWORKS)}.{chance.randint(1, 254)}"
        for number, step in enumerate(journey(site, person, chance)):
            if len(self._waiting) < WAITING_MAX:
                first = arrival if number == 0 else DIRECT
                at = now + step.after_ms / 1000
                heapq.heappush(self._waiting, _Due(at, next(self._numbers), site, step, person, first, address))

    def _send(self, due: _Due) -> None:
        """What the server does not take is lost: it may be stopping."""
        event = _event(due, f"{self._chance.getrandbits(96):024x}")
        body = json.dumps({"consent": "granted", "events": [event]}).encode("utf-8")
        headers = {
            "Content-Type": "application/json",
            "Origin": f"http://{HOSTS[due.site]}:{self._port}",
            "User-Agent": due.person.agent,
            "Accept-Language": due.person.language,
            "X-Forwarded-For": due.address,
            COUNTRY_HEADER: due.person.country,
        }
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=_TIMEOUT_S, source_address=(TRICKLE_ADDRESS, 0)
        )
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/v1/events", body, headers)
            connection.getresponse().read()
        connection.close()


def _event(due: _Due, id_: str) -> dict[str, object]:
    query = f"?{due.arrival.query}" if due.arrival.query else ""
    fields = {
        "id": id_,
        "name": due.step.name,
        "visitor": due.person.id,
        "url": f"http://{HOSTS[due.site]}{due.step.path}{query}",
        "referrer": due.arrival.referrer,
        "value": due.step.value,
        "props": due.step.props,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}
