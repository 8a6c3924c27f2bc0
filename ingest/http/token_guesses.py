"""Slows guesses of tokens and keys, without keeping a right one out.

Once FREE wrong secrets came from an address within a minute, each further answer waits,
whether its secret is right or wrong: an answer that came at once would tell. Beyond
MANY, one secret is looked at every INTERVAL_S, and the others are refused unseen. A
secret that was right from an address before is never slowed there, and no other address
is. The /64 of an IPv6 address is one address.

All workers know at once which secrets were right within a minute, because they take
turns in answering a page.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ingest.collect.rate_table import Table
from ingest.http.client_address import rate_limit_networks
from ingest.http.problem import Problem
from ingest.rate_store.store import Amounts

FREE, MANY = 30, 60
WINDOW_NS = 60_000_000_000
DELAY_S = 1.0
INTERVAL_S = 3.0
# Of one client in one worker.
WAITING_MAX = 16
# The clients, and the right secrets, that a worker remembers.
KNOWN_MAX = 4096
NO_LIMIT, ONE = Amounts(0), Amounts(1)

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class TokenGuesses:
    """`descriptor` is the table of the supervisor, in which all workers count; without
    it this worker counts alone.
    """

    def __init__(
        self, descriptor: int = -1, clock: Callable[[], int] = time.monotonic_ns, delay_s: float = DELAY_S
    ) -> None:
        self._table = Table(WINDOW_NS, descriptor, clock)
        self._clock, self._delay_s = clock, delay_s
        self._known: OrderedDict[tuple[str, bytes], int] = OrderedDict()  # when all workers were told
        self._looked_at: OrderedDict[str, int] = OrderedDict()
        self._waiting: Counter[str] = Counter()

    async def admit(self, address: str, secret: bytes, *, is_right: bool) -> None:
        """Let a request with a secret, as its hash, go on. Raises Problem 429."""

        async def look() -> bool:
            return is_right

        await self._admit(address, secret, look, is_right=is_right)

    async def admit_after(self, address: str, secret: bytes, look: Callable[[], Awaitable[bool]]) -> bool:
        """Whether a secret is right that is costly to look at: that is done after it
        has waited, not before. Raises Problem 429.
        """
        return await self._admit(address, secret, look, is_right=True)

    async def _admit(self, address: str, secret: bytes, look: Callable[[], Awaitable[bool]], *, is_right: bool) -> bool:
        client = rate_limit_networks(address)[0][0]
        known = client, secret
        if is_right and known in self._known:
            self._remember_right(known)
            return True
        guesses = self._guesses(address)
        if guesses >= FREE and not (is_right and self._is_known_elsewhere(known)):
            if guesses >= MANY:
                self._take_turn(client)
            await self._wait(client)
        if await look():
            self._remember_right(known)
            return True
        networks = [(_key(network), times) for network, times in rate_limit_networks(address)]
        self._table.take(networks, NO_LIMIT, ONE)
        return False

    def _remember_right(self, known: tuple[str, bytes]) -> None:
        told, now = self._known.get(known, -WINDOW_NS), self._clock()
        if now - told >= WINDOW_NS // 2:
            self._table.take([(_right(known), 1)], NO_LIMIT, ONE)
            told = now
        _remember(self._known, known, told)

    def _is_known_elsewhere(self, known: tuple[str, bytes]) -> bool:
        before, now = self._table.sent(_right(known))
        return bool(before.requests or now.requests)

    def _guesses(self, address: str) -> float:
        """Wrong secrets of the last minute; of a wide network its part for each
        client.
        """
        return max(self._of(network) / times for network, times in rate_limit_networks(address))

    def _of(self, network: str) -> float:
        before, now = self._table.sent(_key(network))
        into = self._clock() % WINDOW_NS
        return before.requests * (1 - into / WINDOW_NS) + now.requests

    def _take_turn(self, client: str) -> None:
        now = self._clock()
        if now - self._looked_at.get(client, -WINDOW_NS) < INTERVAL_S * 1e9:
            raise _refused()
        _remember(self._looked_at, client, now)

    async def _wait(self, client: str) -> None:
        if self._waiting[client] >= WAITING_MAX:
            raise _refused()
        self._waiting[client] += 1
        try:
            await asyncio.sleep(self._delay_s)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]


def _remember(memory: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > KNOWN_MAX:
        memory.popitem(last=False)


def _key(network: str) -> str:
    return f"guess {network}"  # in the table beside the requests of the same client


def _right(known: tuple[str, bytes]) -> str:
    client, secret = known
    return f"right {client} {secret.hex()}"


def _refused() -> Problem:
    detail = "too many wrong tokens or keys came from this address; ask again"
    return Problem(429, "guesses", detail, retry_after_s=round(INTERVAL_S))
