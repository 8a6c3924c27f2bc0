"""The rate limit of one client: the sliding window of the `limits` library, over a
table that all workers share.

The library's own memory storage grows with the number of clients, and each worker would
count by itself. The table has a fixed size; a new client replaces the one that sent
nothing for longest. It is in memory that `foldlog serve` makes for its workers, not in
a file, because it shows which networks sent requests. It has them only as a keyed hash,
whose key ends with the process.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import NoReturn

from limits import RateLimitItem
from limits.limits import Granularity
from limits.storage import SlidingWindowCounterSupport, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from ingest.http.client_address import WIDTHS, rate_limit_networks
from ingest.http.problem import Problem
from shared.rate_table import COUNTS, KEY_BYTES, SECRETS_SIZE, SET_BYTES, SETS, TABLE_BYTES, TAG, TAGS, WAYS
from shared.settings import Settings

_NS_PER_MS = 1_000_000
LEASES_MIN = 64
LEASES_MAX = 4096


class Table(Storage, SlidingWindowCounterSupport):
    """Requests per client in this window and the one before, in `TABLE_BYTES` of
    memory. Times are in nanoseconds.

    Each client has a place in one set of eight. There is no lock, so no worker ever
    waits for one that was stopped; when two workers count the same client in the same
    microsecond, one count is lost.
    """

    STORAGE_SCHEME = None
    base_exceptions = ()

    def __init__(self, descriptor: int = -1, clock: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__()
        self._memory = mmap.mmap(descriptor, TABLE_BYTES)
        if descriptor == -1:
            self._memory[:KEY_BYTES] = secrets.token_bytes(KEY_BYTES)
        self._clock = clock  # monotonic, and the same for all processes of this boot
        key = bytes(self._memory[:KEY_BYTES])
        # Cached, because a page sends a few requests in a row.
        self._tag = lru_cache(maxsize=1024)(lambda client: _tag(key, client))

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests of a client if its limit allows them. `expiry` is the
        length of the window.
        """
        tag, start = self._tag(key)
        window, into = divmod(self._clock(), expiry)
        way, window, current, previous = self._find(tag, start, window)
        if previous * (expiry - into) // expiry + current + amount > limit:
            return False
        self._store(tag, start, way, window, current + amount, previous)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, int, int, int]:
        """(requests in the previous window, how long they still count, requests in this
        one, how long they still count).
        """
        window, into = divmod(self._clock(), expiry)
        _, _, current, previous = self._find(*self._tag(key), window)
        left = expiry - into
        return previous, left, current, left + expiry

    def _find(self, tag: int, start: int, window: int) -> tuple[int, int, int, int]:
        """(way, window, count in it, count in the previous one) of a client. A new one
        gets the place of the least recent.
        """
        tags = TAGS.unpack_from(self._memory, start)
        if tag not in tags:
            return min(range(WAYS), key=lambda way: self._counts(start, way)[:2]), window, 0, 0
        way = tags.index(tag)
        then, current, previous = self._counts(start, way)
        if then >= window:  # later: another worker reached the next window after our clock was read
            return way, then, current, previous
        return way, window, 0, current if then == window - 1 else 0

    def _counts(self, start: int, way: int) -> tuple[int, int, int]:
        return COUNTS.unpack_from(self._memory, start + TAGS.size + way * COUNTS.size)

    def _store(self, tag: int, start: int, way: int, window: int, current: int, previous: int) -> None:
        TAG.pack_into(self._memory, start + way * TAG.size, tag)
        COUNTS.pack_into(self._memory, start + TAGS.size + way * COUNTS.size, window, current, previous)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Reset the counts of a client."""
        tag, start = self._tag(key)
        tags = TAGS.unpack_from(self._memory, start)
        if tag in tags:
            self._store(0, start, tags.index(tag), 0, 0, 0)

    def check(self) -> bool:
        """Memory is always available."""
        return True

    def _other_strategy(self, *_given: object, **_named: object) -> NoReturn:
        raise NotImplementedError("this table supports sliding windows only")

    # The library requires these of every storage; only its other strategies use them.
    incr = get = get_expiry = reset = clear = _other_strategy


def _tag(key: bytes, client: str) -> tuple[int, int]:
    """The keyed hash of a client, and where its set begins."""
    digest = hashlib.blake2b(client.encode("utf-8", "surrogateescape"), digest_size=8, key=key).digest()
    tag = int.from_bytes(digest, "little") or 1
    return tag, SECRETS_SIZE + (tag % SETS) * SET_BYTES


class _Limit(RateLimitItem):
    """A limit per nanoseconds. The library's own units begin with the second."""

    GRANULARITY = Granularity(1, "nanosecond")

    def key_for(self, *identifiers: str) -> str:  # type: ignore[override]
        return identifiers[0]  # it contains the network's width, so limits of different size never share a key


@dataclass(slots=True)
class _Lease:
    """`size` requests of one client, charged to the table in advance; `left` of them
    are unused.
    """

    window: int
    size: int
    left: int


class RateLimiter:
    """The limit of `FOLDLOG_RATE_LIMIT`. `descriptor` is the table of the supervisor;
    without it this worker counts alone.

    The requests of a busy client are counted 2, 4, 8… at a time, up to a 64th of the
    limit, so that a worker reads the table less often. Leased requests that are not
    used within the window expire, so a client may get slightly less than its limit.
    """

    def __init__(self, settings: Settings, descriptor: int = -1, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._amount = settings.rate_limit
        self._window_ns = settings.rate_window_ms * _NS_PER_MS
        self._table = Table(descriptor, clock)
        self._limiter = SlidingWindowCounterRateLimiter(self._table)
        self._lease_max = self._amount // LEASES_MIN
        self._leases: dict[str, _Lease] = {}
        self._clock = clock
        self._limits = {times: _Limit(max(1, self._amount * times), self._window_ns) for _, times in WIDTHS}

    def check(self, address: str) -> None:
        """Count one request. Raises Problem 429, with the time to wait for the next."""
        if not self._amount:
            return
        lease = self._leases.get(address)
        if lease is not None and lease.left and lease.window == self._clock() // self._window_ns:
            lease.left -= 1
            return
        self._lease(address, lease)

    def _lease(self, address: str, lease: _Lease | None) -> None:
        """Count a request in the table; for a busy client the next few with it."""
        window = self._clock() // self._window_ns
        size = min(lease.size * 2, self._lease_max) if lease is not None and lease.window == window else 1
        if size > 1:
            try:
                self._hit(address, size)
            except Problem:
                size = 1
        if size <= 1:
            self._hit(address, 1)
        if len(self._leases) >= LEASES_MAX:
            self._leases.clear()
        self._leases[address] = _Lease(window, max(1, size), max(1, size) - 1)

    def _hit(self, address: str, cost: int) -> None:
        networks = rate_limit_networks(address)
        for network, times in networks[1:]:  # tested first, because a rejected request counts nowhere
            if not self._limiter.test(self._limits[times], network, cost=cost):
                raise self._too_many(network, self._amount * times)
        for network, times in networks:
            if not self._limiter.hit(self._limits[times], network, cost=cost):
                raise self._too_many(network, self._amount * times)

    def _too_many(self, network: str, amount: int) -> Problem:
        previous, left_ns, current, _ = self._table.get_sliding_window(network, self._window_ns)
        wait_ns = time_to_wait(previous, left_ns, current, amount, self._window_ns)
        return too_many(amount, self._window_ns // _NS_PER_MS, wait_ns / 1e9)


def too_many(amount: int, window_ms: int, wait_s: float) -> Problem:
    """The problem of a client that may send `amount` requests in a window, and one more
    after `wait_s`.
    """
    whole_s = max(1, ceil(wait_s))
    return Problem(
        429,
        "rate_limit",
        "too many requests from this client; send several events in one",
        retry_after_s=whole_s,
        headers={
            "RateLimit-Limit": str(amount),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(whole_s),
            "RateLimit-Policy": f"{amount};w={ceil(window_ms / 1e3)}",
        },
    )


def time_to_wait(previous: int, left: float, current: int, amount: int, window: float) -> float:
    """How long until one more request is allowed, given the counts of both windows and
    how much of this one is left.
    """
    if current >= amount:  # in the next window, once enough of this one has slid out
        return left + window * (1 - amount / current)
    return max(0.0, left - window * (amount - current) / previous) if previous else 0.0
