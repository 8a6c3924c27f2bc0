"""How much one client may send: the sliding window of the `limits` library, over a table that all workers share.

The library's own memory storage grows with the number of clients, and each worker would count by itself. The table has a fixed
size; when it is full, whoever was silent longest is forgotten. It lies in memory that `foldlog serve` makes and hands to its
workers: not in a file, because it tells which networks were here. Networks are in it only as a keyed hash, whose key ends with
the process.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import NoReturn

from limits import RateLimitItem
from limits.limits import Granularity
from limits.storage import SlidingWindowCounterSupport, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from ingest.clients import WIDTHS, counted_networks
from ingest.refusal import Refusal
from shared.settings import Settings

_KEY_BYTES = 16
_ENTRY = struct.Struct("<QQII")  # tag of the client, number of the window, requests in it, requests in the one before
_WAYS = 8
_SET = struct.Struct("<" + "QQII" * _WAYS)
_SETS = 8192
_SECRETS_SIZE = 64
TABLE_BYTES = _SECRETS_SIZE + _SETS * _SET.size
_FIELDS = 4


def monotonic_ms() -> int:
    """The clock of all processes of this boot."""
    return time.monotonic_ns() // 1_000_000


def make_table() -> int:
    """Memory for the counts of all workers of one `serve`, as a descriptor for the children. Gone with the last of them."""
    descriptor = os.memfd_create("foldlog-rate-limit", 0)
    os.truncate(descriptor, TABLE_BYTES)
    os.pwrite(descriptor, secrets.token_bytes(_KEY_BYTES), 0)
    return descriptor


class Table(Storage, SlidingWindowCounterSupport):
    """Requests per client in this window and the one before, in `TABLE_BYTES` of memory. Times are in milliseconds.

    Each client has a place in one set of eight. There is no lock: when two workers count the same client in the same
    microsecond one count is lost, and no worker ever waits for another that was stopped.
    """

    STORAGE_SCHEME = None
    base_exceptions = ()

    def __init__(self, descriptor: int = -1, clock: Callable[[], int] = monotonic_ms) -> None:
        super().__init__()
        self._memory = mmap.mmap(descriptor, TABLE_BYTES)
        if descriptor == -1:
            self._memory[:_KEY_BYTES] = secrets.token_bytes(_KEY_BYTES)
        self._clock = clock
        key = bytes(self._memory[:_KEY_BYTES])
        # A page sends a few events in a row: the hash of who did is worth keeping for them.
        self._tag = lru_cache(maxsize=1024)(lambda client: _tag(key, client))

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests of a client if its limit allows them. `expiry` is the length of the window."""
        tag = self._tag(key)
        window, into = divmod(self._clock(), expiry)
        place, current, previous = self._find(tag, window)
        if previous * (expiry - into) // expiry + current + amount > limit:
            return False
        _ENTRY.pack_into(self._memory, place, tag, window, current + amount, previous)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, int, int, int]:
        """(requests in the window before, for how long they still count, requests in this one, for how long likewise)."""
        window, into = divmod(self._clock(), expiry)
        _, current, previous = self._find(self._tag(key), window)
        left = expiry - into
        return previous, left, current, left + expiry

    def _find(self, tag: int, window: int) -> tuple[int, int, int]:
        """(place, count now, count before) of a client. A client that is not there gets the place of the most silent one."""
        start = _SECRETS_SIZE + (tag % _SETS) * _SET.size
        row = _SET.unpack_from(self._memory, start)
        tags = row[::_FIELDS]
        if tag not in tags:
            windows = row[1::_FIELDS]
            oldest = min(range(_WAYS), key=lambda way: (windows[way], row[way * _FIELDS + 2]))
            return start + oldest * _ENTRY.size, 0, 0
        way = tags.index(tag)
        _, then, current, previous = row[way * _FIELDS : (way + 1) * _FIELDS]
        place = start + way * _ENTRY.size
        if then == window:
            return place, current, previous
        return place, 0, current if then == window - 1 else 0

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget what a client has sent."""
        window = self._clock() // expiry
        _ENTRY.pack_into(self._memory, self._find(self._tag(key), window)[0], 0, 0, 0, 0)

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def _other_strategy(self, *_given: object, **_named: object) -> NoReturn:
        raise NotImplementedError("this table counts sliding windows only")

    # The library has every storage offer these; its other strategies use them.
    incr = get = get_expiry = reset = clear = _other_strategy


def _tag(key: bytes, client: str) -> int:
    digest = hashlib.blake2b(client.encode("utf-8", "surrogateescape"), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "little") or 1  # 0 is an empty place


class _Limit(RateLimitItem):
    """So many requests in so many milliseconds. The library's own units begin with the second."""

    GRANULARITY = Granularity(1, "millisecond")

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return str(identifiers[0])  # the network's width is in it, so limits of different size never share a key


class RateLimiter:
    """The limit of `FOLDLOG_RATE_LIMIT`. `descriptor` is the table of the supervisor; without it this worker counts alone."""

    def __init__(self, settings: Settings, descriptor: int = -1, clock: Callable[[], int] = monotonic_ms) -> None:
        self._amount = settings.rate_limit
        self._window_ms = settings.rate_window_ms
        self._table = Table(descriptor, clock)
        self._limiter = SlidingWindowCounterRateLimiter(self._table)
        self._limits = {times: _Limit(max(1, self._amount * times), self._window_ms) for _, times in WIDTHS}

    def check(self, address: str) -> None:
        """Count one request. Raises Refusal 429, which says when the next one may come."""
        if not self._amount:
            return
        for network, times in counted_networks(address):
            limit = self._limits[times]
            if not self._limiter.hit(limit, network):
                raise self._too_many(network, limit.amount)

    def _too_many(self, network: str, amount: int) -> Refusal:
        previous, left_ms, current, _ = self._table.get_sliding_window(network, self._window_ms)
        wait_s = max(1, ceil(time_to_wait(previous, left_ms, current, amount, self._window_ms) / 1000))
        return Refusal(
            429,
            "rate_limit",
            "this client has sent as many requests as it may; send several events in one",
            retry_after_s=wait_s,
            headers={
                "RateLimit-Limit": str(amount),
                "RateLimit-Remaining": "0",
                "RateLimit-Reset": str(wait_s),
                "RateLimit-Policy": f"{amount};w={ceil(self._window_ms / 1000)}",
            },
        )


def time_to_wait(previous: int, left: float, current: int, amount: int, window: float) -> float:
    """How long until one more request fits, given the counts of both windows and how long this one still lasts."""
    if current >= amount:  # not in this window, but in the next, once enough of this one has slid out
        return left + window * (1 - amount / current)
    return max(0.0, left - window * (amount - current) / previous) if previous else 0.0
