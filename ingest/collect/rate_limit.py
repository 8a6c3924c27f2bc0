"""The rate limit of one client: how many requests and events it may send in a window,
and how many bytes of log they may become.

A request is counted before its body is read. Its events and the bytes of their lines
are counted once they are known, before anything is appended: all of a batch, or nothing
of it. Only then it is known what a request costs, and what it costs is what is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil

from ingest.collect.leases import Leases
from ingest.collect.rate_table import Table
from ingest.http.client_address import rate_limit_networks
from ingest.http.problem import Problem
from ingest.rate_store.store import NOTHING, Amounts, Refusal
from shared.settings import Settings

_NS_PER_MS = 1_000_000
_ONE = Amounts(requests=1)
# Who has used up events or bytes is refused before a body is read.
_ROOM = Amounts(requests=0, events=1, bytes=1)
_ADVICE = {
    "requests": "too many requests from this client; send several events in one",
    "events": "too many events from this client",
    "bytes": "too many bytes of log from this client",
}


def limits_of(settings: Settings) -> Amounts:
    """What one client without a key may send in a window. 0: no limit."""
    return Amounts(settings.rate_limit, settings.rate_limit_events, settings.rate_limit_bytes)


class RateLimiter:
    """The limits of this host. `descriptor` is the table of the supervisor; without it
    this worker counts alone.
    """

    def __init__(self, settings: Settings, descriptor: int = -1, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._limits = limits_of(settings)
        self._is_off = not any(self._limits)
        self._window_ms = settings.rate_window_ms
        self._window_ns = settings.rate_window_ms * _NS_PER_MS
        self._clock = clock
        self._table = Table(self._window_ns, descriptor, clock)
        self._requests, self._costs = Leases(self._limits), Leases(self._limits)

    def check(self, address: str) -> None:
        """Count one request. Raises Problem 429, with the time to wait for the next."""
        now = self._clock()
        if not self._is_off and not self._requests.use(address, _ONE, now):
            room = NOTHING if any(self._costs.left(address, now)) else _ROOM
            self._count(address, self._requests, _ONE, room, now)

    def charge(self, address: str, amounts: Amounts) -> None:
        """Count what a request has brought. Raises Problem 429, or 413 for what could
        never be accepted.
        """
        check_size(amounts, self._limits)
        now = self._clock()
        if not self._is_off and not self._costs.use(address, amounts, now):
            self._count(address, self._costs, amounts, NOTHING, now)

    def give_back(self, address: str, amounts: Amounts) -> None:
        """What was counted here is refused elsewhere: the client may send as much."""
        leases = self._costs if amounts.events or amounts.bytes else self._requests
        now = self._clock()
        leases.keep(address, amounts, NOTHING, now, self._window_ends(now))

    def check_secret(self, name: str, limit: int, whose: str) -> None:
        """Count one request with a key or a token. Raises Problem 429. `name` is its
        digest, `whose` what it is.
        """
        if limit and (refusal := self._table.take([(name, 1)], Amounts(limit), _ONE)):
            detail = f"too many requests with this {whose}"
            raise too_many(refusal, self._window_ms, detail)

    def _count(self, address: str, leases: Leases, amounts: Amounts, room: Amounts, now: int) -> None:
        """Count in the table; for a busy client the next few with it."""
        tries = [amounts]
        if leases.is_busy(address, now):
            missing = leases.missing(address, amounts, now)
            # The last one is refused as the one before it is, but says when all of it
            # is allowed: a lease ends meanwhile.
            tries = [leases.more(address, missing, now), missing, amounts]
        networks, refusal = rate_limit_networks(address), None
        for counted in tries:
            refusal = self._table.take(networks, self._limits, counted, room)
            if refusal is None:
                leases.keep(address, counted, amounts, now, self._window_ends(now))
                return
        if refusal is not None:
            raise too_many(refusal, self._window_ms)

    def _window_ends(self, now: int) -> int:
        return (now // self._window_ns + 1) * self._window_ns


def check_size(amounts: Amounts, limits: Amounts) -> None:
    """Raise Problem 413 for a batch that is more than the whole limit of a window: no
    waiting would help.
    """
    if limits.events and amounts.events > limits.events:
        raise Problem(413, "too_many_events", f"a batch may have at most {limits.events} events, the limit of a client")
    if limits.bytes and amounts.bytes > limits.bytes:
        detail = f"the lines of a batch may have at most {limits.bytes} bytes, the limit of a client: send fewer events"
        raise Problem(413, "too_large", detail)


def too_many(refusal: Refusal, window_ms: int, detail: str = "") -> Problem:
    """The problem of a client that is over a limit: which, and when it is allowed
    again.
    """
    kind, limit = refusal.charge.kind, refusal.charge.limit
    whole_s = max(1, ceil(refusal.wait_s))
    comment = "" if kind == "requests" else f';comment="{kind}"'
    return Problem(
        429,
        "rate_limit",
        detail or _ADVICE[kind],
        retry_after_s=whole_s,
        headers={
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(refusal.left),
            "RateLimit-Reset": str(whole_s),
            "RateLimit-Policy": f"{limit};w={ceil(window_ms / 1e3)}{comment}",
        },
    )
