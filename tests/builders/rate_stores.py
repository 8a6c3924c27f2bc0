"""A store of the rate limit in memory, for tests: it answers, stands still or fails, as
a test says. It counts in one window that never ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from ingest.rate_store.store import Charge, RateStoreFailed, Refusal


class MemoryStore:
    """`counts` may be shared by several, as the hosts share a server."""

    def __init__(self, counts: Counter[str] | None = None, wait_s: float = 7.0) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.wait_s = wait_s
        self.taken: list[Sequence[Charge]] = []
        self.opened = self.closed = self.refreshed = 0
        self.fails: BaseException | None = None
        self._moves = asyncio.Event()
        self._moves.set()
        self._closing = asyncio.Event()

    def stand_still(self) -> None:
        self._moves.clear()

    def go_on(self) -> None:
        self._moves.set()

    async def open(self) -> None:
        await self._answer()
        self._closing.clear()
        self.opened += 1

    async def refresh(self) -> None:
        await self._answer()
        self.refreshed += 1

    async def take(self, charges: Sequence[Charge]) -> Refusal | None:
        self.taken.append(charges)
        await self._answer()
        for charge in charges:
            if self.counts[charge.client] + charge.amount > charge.limit:
                return Refusal(charge, self.wait_s)
        for charge in charges:
            self.counts[charge.client] += charge.amount
        return None

    async def close(self) -> None:
        self.closed += 1
        self._closing.set()

    async def _answer(self) -> None:
        if not self._moves.is_set():
            waits = [asyncio.ensure_future(each.wait()) for each in (self._moves, self._closing)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            if not self._moves.is_set():
                raise RateStoreFailed("closed")
        if self.fails is not None:
            raise self.fails
