"""One limit over several hosts, in one process: each host has its table, its leases and
its way to the store that they share.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from ingest.collect.leases import LEASES_MAX, LEASES_MIN
from ingest.collect.rate_limit import RateLimiter
from ingest.collect.rate_limit_over_hosts import LEASES_PER_WINDOW, REFUSAL_MAX_S, RateLimiterOverHosts
from ingest.http.problem import Problem
from ingest.rate_store.link import StoreLink
from shared.settings import Settings
from shared.worker_stats import WorkerStats
from tests.builders.rate_stores import MemoryStore
from tests.builders.silent_log import SilentLog

ADDRESS = "203.0.113.77"
WINDOW_S = 80.0
LEASE_S = WINDOW_S / LEASES_PER_WINDOW
NS = 1_000_000_000


class Clock:
    """Seconds, that a test moves; one for all hosts."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Host:
    """One worker of a host. `store` may count with those of others."""

    def __init__(self, clock: Clock, limit: int, counts: Counter[str]) -> None:
        settings = Settings(rate_limit=limit, rate_window_ms=int(WINDOW_S * 1000))
        self.store, self.stats, self.log = MemoryStore(counts), WorkerStats(), SilentLog()
        self.link = StoreLink(self.store, "redis://cache.example", self.stats, self.log, pauses_s=(3600, 3600))
        local = RateLimiter(settings, clock=lambda: int(clock() * NS))
        self.limiter = RateLimiterOverHosts(settings, local, self.link, self.stats, clock)

    async def problem(self, address: str = ADDRESS) -> Problem | None:
        try:
            await self.limiter.check(address)
        except Problem as rejected:
            return rejected
        return None

    async def accepted(self, requests: int, address: str = ADDRESS) -> int:
        return sum([await self.problem(address) is None for _ in range(requests)])


@asynccontextmanager
async def hosts(limit: int, amount: int = 2) -> AsyncIterator[tuple[Clock, list[Host]]]:
    clock, counts = Clock(), Counter[str]()
    found = [Host(clock, limit, counts) for _ in range(amount)]
    async with AsyncExitStack() as stack:
        for host in found:
            await stack.enter_async_context(host.link.running(3600))
        yield clock, found


async def test_limit_is_that_of_all_hosts_together() -> None:
    async with hosts(10) as (_, (one, other)):
        assert await one.accepted(6) == 6
        assert await other.accepted(6) == 4
        assert await one.accepted(6) == 0
        assert await one.accepted(3, "203.0.113.78") == 3


async def test_client_over_its_limit_here_costs_the_store_nothing() -> None:
    async with hosts(10) as (_, (one, _)):
        assert await one.accepted(10) == 10
        asked = len(one.store.taken)
        assert await one.accepted(1000) == 0
        assert len(one.store.taken) == asked


async def test_refusal_of_the_store_is_remembered() -> None:
    async with hosts(10) as (clock, (one, other)):
        assert await one.accepted(10) == 10
        assert await other.accepted(1000) == 0
        assert len(other.store.taken) == 1
        clock.now += REFUSAL_MAX_S
        assert await other.accepted(1000) == 0
        assert len(other.store.taken) == 2


async def test_refusal_has_the_time_of_the_store_to_wait() -> None:
    async with hosts(10) as (clock, (one, other)):
        await one.accepted(10)
        first = await other.problem()
        clock.now += 3.5
        second = await other.problem()
        assert first is not None and second is not None
        assert [each.headers()["Retry-After"] for each in (first, second)] == ["7", "4"]
        assert first.headers()["RateLimit-Limit"] == "10"
        assert first.headers()["RateLimit-Policy"] == f"10;w={WINDOW_S:g}"


async def test_busy_client_is_counted_several_requests_at_a_time() -> None:
    limit = 100 * LEASES_MIN
    async with hosts(limit) as (_, (one, _)):
        assert await one.accepted(1000) == 1000
        sizes = [charge.amount for (charge,) in one.store.taken]
        assert sizes[:7] == [1, 2, 4, 8, 16, 32, 64]
        assert max(sizes) == limit // LEASES_MIN
        assert len(sizes) < 20


async def test_leases_cost_a_client_no_more_than_they_hold() -> None:
    """And give it nothing: what is leased is counted."""
    limit = 10 * LEASES_MIN
    async with hosts(limit, 3) as (_, found):
        requests = [await found[number % 3].problem() for number in range(2 * limit)]
        assert limit - 3 * (limit // LEASES_MIN) <= requests.count(None) <= limit


async def test_lease_ends_after_an_eighth_of_a_window() -> None:
    async with hosts(10 * LEASES_MIN) as (clock, (one, _)):
        await one.accepted(2)  # one, and a lease of two of which one is left
        assert one.store.counts[f"requests {ADDRESS}"] == 3
        clock.now += LEASE_S
        await one.accepted(1)
        assert [charge.amount for (charge,) in one.store.taken] == [1, 2, 1]


async def test_requests_at_the_same_time_lease_several_only_once() -> None:
    async with hosts(10 * LEASES_MIN) as (_, (one, _)):
        await one.accepted(4)  # the next are counted four at a time
        before = len(one.store.taken)
        await asyncio.gather(*(one.limiter.check(ADDRESS) for _ in range(20)))
        sizes = [charge.amount for (charge,) in one.store.taken[before:]]
        assert sum(sizes) <= 20 + max(sizes)
        assert [size for size in sizes if size > 1] == sizes[:1]


async def test_addresses_of_one_network_are_one_client() -> None:
    async with hosts(10) as (_, (one, other)):
        addresses = [f"2001:db8::{number:x}" for number in range(40)]
        answers = [await (one, other)[number % 2].problem(address) for number, address in enumerate(addresses)]
        assert answers.count(None) == 10
        assert len(one.store.taken) + len(other.store.taken) == 12  # each refusal was asked for once


async def test_wide_network_that_is_refused_has_its_own_limit() -> None:
    async with hosts(2) as (_, (one, other)):
        answers = [await (one, other)[number % 2].problem(f"2001:db8:0:{number:x}::1") for number in range(40)]
        assert answers.count(None) == 16
        refused = [each.headers()["RateLimit-Limit"] for each in answers if each]
        assert set(refused) == {"16"}


async def test_host_decides_alone_while_the_store_is_down() -> None:
    async with hosts(10) as (_, (one, other)):
        one.store.stand_still()
        assert await one.accepted(50) == 10
        assert await other.accepted(50) == 10
        assert one.stats.rate_store_failures == 1
        assert one.stats.rate_store_bypassed == 10
        assert other.stats.rate_store_bypassed == 0


async def test_what_a_worker_remembers_is_bounded() -> None:
    async with hosts(1) as (_, (one, other)):
        for number in range(LEASES_MAX + 10):
            address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            assert await one.problem(address) is None
            assert await other.problem(address) is not None
        assert len(one.limiter.leases) <= LEASES_MAX
        assert len(other.limiter.refused) <= LEASES_MAX


@pytest.mark.parametrize("limit", [1, LEASES_MIN - 1, LEASES_MIN, 2 * LEASES_MIN])
async def test_small_limit_is_exact(limit: int) -> None:
    async with hosts(limit) as (_, (one, other)):
        answers = [await (one, other)[number % 2].problem() for number in range(3 * limit)]
        assert limit - 4 <= answers.count(None) <= limit
        if limit < 2 * LEASES_MIN:
            assert answers.count(None) == limit
