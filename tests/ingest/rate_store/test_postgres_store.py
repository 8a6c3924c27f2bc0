"""What only PostgreSQL shows: two hosts in one row at the same moment, the windows as
they stand in the table, and what is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest

from ingest.rate_store.postgres_store import PostgresStore
from ingest.rate_store.store import Charge
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required
from tests.builders.waiting import until_async

pytestmark = [pytest.mark.component, pytest.mark.long]

HOUR_MS = 3_600_000
LIMIT = 100
# Every window is now the one before.
SHIFT = b"UPDATE analytics_rate SET number = number - 1"
WAITING = b"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(required("packaged"), quick=True) as server:
        yield server.url


@pytest.fixture
def database(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
        connection.execute("TRUNCATE analytics_rate")


@asynccontextmanager
async def hosts(url: str, amount: int = 1) -> AsyncIterator[list[PostgresStore]]:
    found = [PostgresStore(url, HOUR_MS, statement_timeout_ms=HOUR_MS) for _ in range(amount)]
    async with AsyncExitStack() as stack:
        for host in found:
            await host.open()
            stack.push_async_callback(host.close)
        yield found


def one(client: str, amount: int = 1) -> Charge:
    return Charge("requests", client, LIMIT, amount)


async def test_row_that_another_host_filled_meanwhile_refuses(url: str, database: psycopg.Connection) -> None:
    async with hosts(url, 2) as (first, second):
        await first.take([one("a")])
        with database.transaction():
            database.execute(b"UPDATE analytics_rate SET used = 100")
            waiting = [asyncio.ensure_future(host.take([one("a")])) for host in (first, second)]
            await until_async(lambda: count(url, WAITING) == 2)
        refusals = await asyncio.gather(*waiting)
    assert [refusal is not None and refusal.charge == one("a") for refusal in refusals] == [True, True]
    assert used(database) == [100]


async def test_hosts_that_wait_for_the_same_rows_do_not_wait_for_each_other(
    url: str, database: psycopg.Connection
) -> None:
    async with hosts(url, 2) as (first, second):
        await first.take([one("x", 5)])
        with database.transaction():
            database.execute(b"SELECT FROM analytics_rate FOR UPDATE")  # the row of x
            row = database.execute(b"SELECT client FROM analytics_rate").fetchone()
            ahead = asyncio.ensure_future(first.take([one("x"), one("y")]))
            await until_async(lambda: count(url, WAITING) == 1)
            behind = asyncio.ensure_future(second.take([one("y"), one("x")]))
            await until_async(lambda: count(url, WAITING) == 2)
        assert row is not None
        assert [await ahead, await behind] == [None, None]
    assert sorted(used(database)) == [2, 7]


async def test_window_before_counts_for_the_share_that_still_overlaps(url: str, database: psycopg.Connection) -> None:
    async with hosts(url) as (host,):
        assert await host.take([one("slides", LIMIT)]) is None
        database.execute(SHIFT)
        before = overlapping(database)
        taken = 0
        while await host.take([one("slides")]) is None:
            taken += 1
        assert LIMIT - before <= taken <= LIMIT - overlapping(database)
        refusal = await host.take([one("slides", LIMIT)])
        assert refusal is not None and 0 < refusal.wait_s <= 2 * HOUR_MS / 1000
        database.execute(SHIFT)
        database.execute(SHIFT)
        assert await host.take([one("slides", LIMIT)]) is None


async def test_what_no_window_needs_is_deleted(url: str, database: psycopg.Connection) -> None:
    async with hosts(url) as (host,):
        await host.take([one("old")])
        ends = count(url, b"SELECT extract(epoch FROM max(until) - now())::int FROM analytics_rate")
        assert 2 * HOUR_MS // 1000 - 60 < ends <= 2 * HOUR_MS // 1000
        database.execute(b"UPDATE analytics_rate SET until = now() - interval '1 second'")
        await host.take([one("new")])
        await host.refresh()
        assert len(used(database)) == 1


async def test_key_is_another_one_every_day(url: str, database: psycopg.Connection) -> None:
    async with hosts(url, 2) as (first, second):
        for host in (first, second, first):
            await host.take([one("followed")])
            await host.refresh()
        assert used(database) == [3]
        database.execute(b"UPDATE analytics_rate_key SET until = now()")
        for host in (first, second):
            await host.refresh()
            await host.take([one("followed")])
        assert sorted(used(database)) == [2, 3]
        assert count(url, b"SELECT extract(epoch FROM until - now())::int FROM analytics_rate_key") > 86_000


async def test_tables_leave_no_trace_in_the_log_of_the_server(url: str, database: psycopg.Connection) -> None:
    async with hosts(url):
        kinds = database.execute(
            "SELECT relpersistence FROM pg_class WHERE relname IN ('analytics_rate', 'analytics_rate_key')"
        ).fetchall()
    assert kinds == [("u",), ("u",)]


async def test_role_that_may_make_no_table_uses_those_that_are_there(url: str, database: psycopg.Connection) -> None:
    async with hosts(url):
        database.execute("CREATE ROLE weak LOGIN")
        database.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON analytics_rate, analytics_rate_key TO weak")
    async with hosts(url.replace("foldlog@", "weak@")) as (host,):
        assert await host.take([one("a")]) is None


def used(database: psycopg.Connection) -> list[int]:
    return [row[0] for row in database.execute("SELECT used FROM analytics_rate")]


def overlapping(database: psycopg.Connection) -> int:
    """How many of `LIMIT` requests of the window before still count."""
    row = database.execute("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
    assert row is not None
    return int(LIMIT * (HOUR_MS - row[0] % HOUR_MS) // HOUR_MS)


def count(url: str, query: bytes) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
