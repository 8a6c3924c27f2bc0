"""Requests of clients in Redis, counted by the sliding window of the `limits` library.

Only this module loads redis-py, in a worker whose FOLDLOG_RATE_STORE names a Redis. An
entry lasts two windows, in whole seconds; the key of the hashes lasts a day.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import ceil
from typing import Any

from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ingest.rate_store.failure import failed
from ingest.rate_store.hash_key import KEY_LASTS_S, HashKey, make_key
from ingest.rate_store.store import Charge, Refusal, longest, time_to_wait

PREFIX = "foldlog:rate"
KEY_NAME = f"{PREFIX}:key"
CONNECTIONS_MAX = 16
# The last bounds, for connections that no request waits for any more (link.py).
SOCKET_TIMEOUT_S = 2.0

# Previous count, how long it still counts, this count, how long it still counts.
Window = tuple[int, float, int, float]


class RedisStore:
    """`address` as redis-py takes it; one for the life of a worker."""

    def __init__(self, address: str, window_ms: int) -> None:
        self._address = address
        self._window_s = ceil(window_ms / 1000)
        self._hash_key = HashKey()
        self._pool: BlockingConnectionPool | None = None

    async def open(self) -> None:
        await self.close()  # an earlier attempt may have come through late
        async with self._failures():
            self._pool = BlockingConnectionPool.from_url(
                self._address,
                max_connections=CONNECTIONS_MAX,
                timeout=SOCKET_TIMEOUT_S,
                socket_timeout=SOCKET_TIMEOUT_S,
                socket_connect_timeout=SOCKET_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),  # a request has no time for another try
            )
            self._client = Redis(connection_pool=self._pool)
            pool: Any = self._pool  # an option of the library, which it types as a plain value
            self._storage = RedisStorage(
                "async+redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool
            )
        await self.refresh()

    async def refresh(self) -> None:
        async with self._failures(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.set(KEY_NAME, make_key(), nx=True, ex=KEY_LASTS_S)
            pipeline.get(KEY_NAME)
            pipeline.pttl(KEY_NAME)
            _, key, left_ms = await pipeline.execute()
        self._hash_key.set(key, left_ms / 1000)

    async def take(self, charges: Sequence[Charge]) -> Refusal | None:
        if self._hash_key.is_over:
            await self.refresh()
        names = [self._hash_key.name(charge.client).hex() for charge in charges]
        async with self._failures():
            # Looked at first where there are several: what is refused counts nowhere.
            if len(charges) > 1 and (refusal := await self._over(charges, names)):
                return refusal
            taken = await gather(*map(self._acquire, names, charges))
            return None if all(taken) else await self._over(charges, names) or Refusal(charges[taken.index(False)], 0)

    async def _acquire(self, name: str, charge: Charge) -> bool:
        return await self._storage.acquire_sliding_window_entry(name, charge.limit, self._window_s, charge.amount)

    async def _over(self, charges: Sequence[Charge], names: Sequence[str]) -> Refusal | None:
        windows = await gather(*(self._storage.get_sliding_window(name, self._window_s) for name in names))
        refusals = (_refusal(charge, window, self._window_s) for charge, window in zip(charges, windows, strict=True))
        return longest(refusals)

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            async with self._failures():
                await pool.disconnect(inuse_connections=True)

    @asynccontextmanager
    async def _failures(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError, ValueError) as error:
            raise failed(self._address, error) from None


def _refusal(charge: Charge, window: Window, window_s: int) -> Refusal | None:
    """Whether a charge is over its limit, as the library's script finds it."""
    previous, previous_left_s, current, current_left_s = window
    # What is left of the previous window is what is left until this one ends.
    left_s = previous_left_s or max(0.0, current_left_s - window_s)
    used = int(previous * left_s / window_s) + current
    if used + charge.amount <= charge.limit:
        return None
    wait_s = time_to_wait(previous, left_s, current, charge.limit, window_s, charge.amount)
    return Refusal(charge, wait_s, max(0, charge.limit - used))
