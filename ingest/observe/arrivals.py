"""What has just arrived, accepted or not and why, for an operator who watches (GET
/admin/api/live/stream).

It is kept in memory that all workers share, in a ring of fixed size, and only while an
operator watches: else a request costs one read of a number. No visitor, session or
address is in it. There is no lock, so no worker waits for one that was stopped; where
two workers add in the same microsecond, one arrival is not shown.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from ingest.collect.event import Event
from ingest.collect.validate import Rejection, Validated
from ingest.http.problem import Problem
from shared.rate_table import (
    ARRIVAL_BYTES,
    ARRIVAL_HEAD,
    ARRIVALS,
    ARRIVALS_HEAD,
    ARRIVALS_START,
    MEMORY_BYTES,
    is_table,
)
from shared.timestamps import rfc3339

WATCHED_S = 3.0
# Of one request, and of one worker in a second: a flood shows a part of itself.
OF_REQUEST_MOST = 20
A_SECOND_MOST = 100
_TEXT_MAX = 120
_FIRST = ARRIVALS_START + ARRIVALS_HEAD.size
_NS = 1_000_000_000

Arrival = dict[str, Any]
"""An event, or a refused request, as it is shown."""


class Arrivals:
    """`descriptor` is the memory of the supervisor; without it this worker shows its
    own.
    """

    def __init__(
        self, descriptor: int, now_ms: Callable[[], int], clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._memory = mmap.mmap(descriptor if is_table(descriptor) else -1, MEMORY_BYTES)
        self._now_ms, self._clock = now_ms, clock  # monotonic, and the same for all processes of this boot
        self._second = self._added = 0

    def is_watched(self) -> bool:
        return self._head()[0] > self._clock()

    def watch(self) -> int:
        """Have workers keep what arrives for WATCHED_S. Returns the number of the next
        arrival.
        """
        _, following = self._head()
        until = self._clock() + round(WATCHED_S * _NS)
        ARRIVALS_HEAD.pack_into(self._memory, ARRIVALS_START, until, following)
        return following

    def of_batch(self, validated: Validated, site: str, *, dry_run: bool) -> list[Arrival]:
        """The first events of a batch as they are shown; none while no operator
        watches.
        """
        if not self.is_watched():
            return []
        at = rfc3339(self._now_ms())
        accepted = [_accepted(event, at, site) for event, _ in validated.accepted[:OF_REQUEST_MOST]]
        rejected = [_rejected(each, at, site) for each in validated.rejected[:OF_REQUEST_MOST]]
        shown = [*rejected, *accepted][:OF_REQUEST_MOST]
        return [{**each, "dry_run": True} for each in shown] if dry_run else shown

    def of_problem(self, problem: Problem, host: str) -> list[Arrival]:
        """A request of which nothing was taken."""
        if not self.is_watched():
            return []
        return [
            {
                "at": rfc3339(self._now_ms()),
                "outcome": "refused",
                "site": _short(host),
                "status": problem.status,
                "code": problem.code,
                "detail": _short(problem.detail),
            }
        ]

    def add(self, shown: Iterable[Arrival]) -> None:
        """Show these, as far as the second has room."""
        for each in shown:
            second = self._clock() // _NS
            if second != self._second:
                self._second, self._added = second, 0
            self._added += 1
            if self._added <= A_SECOND_MOST:
                self._put(orjson.dumps(each))

    def since(self, number: int) -> tuple[int, Sequence[bytes]]:
        """The arrivals from this number on that are still kept, as JSON, and the number
        of the next one.
        """
        _, following = self._head()
        found = []
        for each in range(max(number, following - ARRIVALS), following):
            start = _FIRST + each % ARRIVALS * ARRIVAL_BYTES
            has, length = ARRIVAL_HEAD.unpack_from(self._memory, start)
            text = self._memory[start + ARRIVAL_HEAD.size : start + ARRIVAL_HEAD.size + length]
            if has == each and ARRIVAL_HEAD.unpack_from(self._memory, start)[0] == each:
                found.append(text)
        return following, found

    def _head(self) -> tuple[int, int]:
        until, following = ARRIVALS_HEAD.unpack_from(self._memory, ARRIVALS_START)
        return until, following

    def _put(self, text: bytes) -> None:
        if len(text) > ARRIVAL_BYTES - ARRIVAL_HEAD.size:
            return  # its texts are of four bytes a character, and escaped
        until, number = self._head()
        start = _FIRST + number % ARRIVALS * ARRIVAL_BYTES
        self._memory[start + ARRIVAL_HEAD.size : start + ARRIVAL_HEAD.size + len(text)] = text
        ARRIVAL_HEAD.pack_into(self._memory, start, number, len(text))
        ARRIVALS_HEAD.pack_into(self._memory, ARRIVALS_START, until, number + 1)


def _accepted(event: Event, at: str, site: str) -> Arrival:
    url = event.url or ""
    shown: Arrival = {"at": at, "outcome": "accepted", "site": _short(event.site or site), "name": _short(event.name)}
    if url:
        shown["path"] = _short(_path_of(url))
    return shown


def _path_of(url: str) -> str:
    try:
        return urlsplit(url[:2000]).path or "/"
    except ValueError:
        return url[:_TEXT_MAX]


def _rejected(rejection: Rejection, at: str, site: str) -> Arrival:
    return {
        "at": at,
        "outcome": "rejected",
        "site": _short(site),
        "code": rejection.code,
        "field": _short(rejection.field or ""),
        "detail": _short(rejection.detail),
    }


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
