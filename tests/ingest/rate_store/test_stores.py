"""What every store of the rate limit keeps, with real servers: hosts count together,
what is refused counts nowhere, a window ends, and nothing says who was there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from ingest.http.client_address import rate_limit_networks
from ingest.rate_store.link import StoreLink
from ingest.rate_store.store import Amounts, Charge, RateStore, RateStoreFailed, charges_of
from shared.worker_stats import WorkerStats
from tests.builders.rate_store_servers import KINDS, RateStoreServer
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S, until

pytestmark = [pytest.mark.component, pytest.mark.long]

HOUR_MS, SECOND_MS = 3_600_000, 1000


@pytest.fixture(params=KINDS, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[RateStoreServer]:
    with KINDS[request.param]() as running:
        yield running


@asynccontextmanager
async def hosts(server: RateStoreServer, amount: int = 2, window_ms: int = HOUR_MS) -> AsyncIterator[list[RateStore]]:
    found = [server.host(window_ms) for _ in range(amount)]
    await asyncio.gather(*(host.open() for host in found))
    try:
        yield found
    finally:
        for host in found:
            await host.close()


def requests(client: str, limit: int, amount: int = 1) -> list[Charge]:
    return [Charge("requests", client, limit, amount)]


async def taken(found: list[RateStore], charges: list[Charge], times: int) -> int:
    """How often it is counted, by the hosts in turn."""
    answers = [await found[number % len(found)].take(charges) for number in range(times)]
    return answers.count(None)


# In this module, an hour may end within a test: then one more is counted.
async def test_hosts_count_together(server: RateStoreServer) -> None:
    async with hosts(server, 3) as found:
        assert await taken(found, requests("a", 10), 30) in {10, 11}
        assert await taken(found, requests("b", 1), 3) in {1, 2}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine so many at once wait longer for a connection than a request
    would.
    """
    monkeypatch.setattr("ingest.rate_store.redis_store.SOCKET_TIMEOUT_S", TIMEOUT_S)


@pytest.mark.usefixtures("patient")
async def test_hosts_that_count_at_the_same_time_lose_nothing(server: RateStoreServer) -> None:
    async with hosts(server, 4) as found:
        async with asyncio.timeout(TIMEOUT_S):
            answers = await asyncio.gather(*(found[n % 4].take(requests("busy", 40)) for n in range(200)))
        assert answers.count(None) in {40, 41}


@pytest.mark.usefixtures("patient")
async def test_networks_in_any_order_do_not_block_each_other(server: RateStoreServer) -> None:
    charges = [Charge("requests", f"many {number}", 10_000, 1) for number in range(9)]
    async with hosts(server, 4) as found, asyncio.timeout(TIMEOUT_S):
        turns = (charges[number % 9 :] + charges[: number % 9] for number in range(100))
        answers = await asyncio.gather(*(found[n % 4].take(turn) for n, turn in enumerate(turns)))
    assert set(answers) == {None}


async def test_several_are_counted_at_once_or_not_at_all(server: RateStoreServer) -> None:
    async with hosts(server) as (one, other):
        assert await one.take(requests("lease", 10, 8)) is None
        assert await other.take(requests("lease", 10, 3)) is not None
        assert await other.take(requests("lease", 10, 2)) is None
        assert await one.take(requests("lease", 10, 11)) is not None


async def test_what_is_refused_counts_nowhere(server: RateStoreServer) -> None:
    wide, full = Charge("requests", "wide", 10, 1), Charge("requests", "full", 1, 1)
    async with hosts(server) as found:
        assert await found[0].take([full]) is None
        for charges in ([wide, full], [full, wide]):
            refusal = await found[1].take(charges)
            assert refusal is not None and refusal.charge == full
        assert await taken(found, [wide], 30) in {10, 11}


async def test_each_amount_has_its_limit(server: RateStoreServer) -> None:
    """Requests, events and bytes of one client in one window."""
    networks, limits = rate_limit_networks("203.0.113.9"), Amounts(10, 100, 10_000)
    async with hosts(server) as (one, other):
        assert await one.take(charges_of(networks, limits, Amounts(1, 90, 500))) is None
        refusal = await other.take(charges_of(networks, limits, Amounts(1, 20, 500)))
        assert refusal is not None and (refusal.charge.kind, refusal.charge.limit) == ("events", 100)
        refusal = await other.take(charges_of(networks, limits, Amounts(1, 10, 9_600)))
        assert refusal is not None and refusal.charge.kind == "bytes"
        assert await other.take(charges_of(networks, limits, Amounts(9, 10, 9_500))) is None


async def test_refusal_says_how_long_to_wait(server: RateStoreServer) -> None:
    async with hosts(server, window_ms=10_000) as found:
        await taken(found, requests("waits", 4), 4)
        refusal = await found[0].take(requests("waits", 4))
        assert refusal is not None
        assert 0 <= refusal.wait_s <= 20


async def test_window_ends_and_nothing_of_it_stays(server: RateStoreServer) -> None:
    async with hosts(server, window_ms=SECOND_MS) as found:
        assert await taken(found, requests("brief", 5), 5) == 5
        tries = 0
        while await found[0].take(requests("brief", 5)) is not None:
            tries += 1
            assert tries < 6000
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * SECOND_MS / 1000)
        await found[0].refresh()
        seen = server.dump()
    async with hosts(server, window_ms=SECOND_MS) as (one, _):
        charges = requests("brief", 5)
        assert await one.take(charges) is None
        await asyncio.sleep(2 * SECOND_MS / 1000 + 0.1)
        await one.refresh()
        assert server.dump() == seen


async def test_names_are_hashes(server: RateStoreServer) -> None:
    addresses = ("203.0.113.77", "2001:db8:1234:5678:9abc:def0:1234:5678")
    async with hosts(server) as (one, _):
        before = server.entries()
        for address in addresses:
            await one.take(charges_of(rate_limit_networks(address), Amounts(5), Amounts(1)))
        assert server.entries() == before + 4  # three networks of the second
    held = server.dump()
    for address in addresses:
        packed = ipaddress.ip_address(address).packed
        forms = (address.encode(), packed, packed.hex().encode(), packed.hex()[:12].encode(), packed[:6])
        assert not [form for form in (*forms, b"203.0.113", b"2001:db8", b"requests") if form in held]


async def test_hosts_learn_a_new_key(server: RateStoreServer) -> None:
    """As when its day is over: hosts count together again, under other names."""
    async with hosts(server) as found:
        await taken(found, requests("followed", 5), 5)
        before = server.entries()
        server.forget_key()
        for host in found:
            await host.refresh()
        assert await taken(found, requests("followed", 5), 10) == 5
        assert server.entries() == before + 1


async def test_close_ends_what_waits_and_open_begins_anew(server: RateStoreServer) -> None:
    async with hosts(server, 1) as (one,):
        server.stand_still()
        try:
            waiting = [asyncio.ensure_future(one.take(requests(f"waits {number}", 5))) for number in range(3)]
            await asyncio.sleep(0.1)
            await one.close()
            async with asyncio.timeout(TIMEOUT_S):
                answers = await asyncio.gather(*waiting, return_exceptions=True)
        finally:
            server.go_on()
        assert [type(answer) for answer in answers] == [RateStoreFailed] * 3
        await one.open()
        assert await taken([one], requests("after", 2), 3) == 2


async def test_link_ends_at_any_moment(server: RateStoreServer) -> None:
    """Also while it opens the store: Python 3.11 may swallow a cancellation there."""
    numbers = random.Random(7)
    for _ in range(60):
        stats = WorkerStats()
        link = StoreLink(server.host(HOUR_MS), "a store", stats, SilentLog(), pauses_s=(0.001, 0.01))
        async with asyncio.timeout(TIMEOUT_S), link.running(0):
            await asyncio.sleep(numbers.uniform(0, 0.03))
        assert not link.calls and not stats.rate_store_up


async def test_killed_server_fails_and_can_be_opened_anew(server: RateStoreServer) -> None:
    async with hosts(server, 1) as (one,):
        server.kill()
        with pytest.raises(RateStoreFailed):
            await one.take(requests("lost", 5))
        await one.close()
        with pytest.raises(RateStoreFailed):
            await one.open()
        server.start()
        await one.open()
        assert await taken([one], requests("back", 2), 3) == 2
        until(server.dump)
