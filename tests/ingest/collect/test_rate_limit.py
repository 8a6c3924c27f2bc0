"""A client may send exactly its limit of requests, over all workers; the table does not
grow and contains no address.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.rate_limit import RateLimiter
from ingest.collect.rate_table import Table
from ingest.http.problem import Problem
from ingest.rate_store.store import Amounts
from shared.rate_table import MEMORY_BYTES, TABLE_BYTES, make_table
from shared.settings import Settings
from tests.builders.server import Server, keyed

ADDRESS = "203.0.113.77"
WINDOW_MS = 10_000
PER_MS = 1_000_000
WINDOW = WINDOW_MS * PER_MS


class Clock:
    """A clock in nanoseconds that a test moves; `now` is in milliseconds."""

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now * PER_MS


def limiter(clock: Clock, limit: int = 10, descriptor: int = -1, window_ms: int = WINDOW_MS) -> RateLimiter:
    settings = Settings(rate_limit=limit, rate_limit_events=0, rate_limit_bytes=0, rate_window_ms=window_ms)
    return RateLimiter(settings, descriptor, clock)


def problem(limited: RateLimiter, address: str = ADDRESS) -> Problem | None:
    """The problem of one request; None when it was accepted."""
    try:
        limited.check(address)
    except Problem as rejected:
        return rejected
    return None


def accepted(limited: RateLimiter, requests: int, address: str = ADDRESS) -> int:
    """How many of these simultaneous requests were accepted."""
    return sum(problem(limited, address) is None for _ in range(requests))


@pytest.fixture
def memory() -> Iterator[int]:
    """The table of `serve`, as its workers get it."""
    descriptor = make_table()
    yield descriptor
    os.close(descriptor)


# Name: (when, number of requests of one client, how many of them are accepted); the
# limit is 10 in 10 s.
WINDOWS: dict[str, list[tuple[int, int, int]]] = {
    "no more than the limit at once": [(0, 12, 10)],
    "no more than the limit within a window": [(0, 4, 4), (5_000, 4, 4), (9_999, 4, 2)],
    "all of it still counts at the border": [(9_999, 10, 10), (10_000, 1, 0)],
    "one is free a moment after the border": [(0, 10, 10), (10_000, 1, 0), (10_001, 2, 1)],
    "half of it is free half a window later": [(0, 10, 10), (15_000, 10, 5)],
    "what was used after the border counts whole": [(0, 10, 10), (15_000, 5, 5), (19_999, 6, 5)],
    "all is free after a quiet window": [(9_999, 10, 10), (20_000, 12, 10)],
    "all is free after a quiet hour": [(9_999, 10, 10), (3_600_000, 12, 10)],
    "rejected requests do not count": [(0, 1_000, 10), (15_000, 1_000, 5)],
}


@pytest.mark.parametrize("traffic", WINDOWS.values(), ids=WINDOWS)
def test_window_slides(traffic: list[tuple[int, int, int]]) -> None:
    clock = Clock()
    limited = limiter(clock)
    for now, requests, expected in traffic:
        clock.now = now
        assert accepted(limited, requests) == expected, now


@pytest.mark.parametrize("limit", [1, 2, 600])
def test_limit_is_exact(limit: int) -> None:
    assert accepted(limiter(Clock(12_345), limit), limit + 50) == limit


def test_clients_are_counted_apart() -> None:
    limited = limiter(Clock(), 2)
    assert [accepted(limited, 5, f"203.0.113.{host}") for host in range(100)] == [2] * 100


def take(table: Table, client: str, limit: int = 10) -> bool:
    """Whether one request of a client was counted."""
    return table.take([(client, 1)], Amounts(limit), Amounts(1)) is None


class Unbounded:
    """The arithmetic of limits' own MemoryStorage, in whole numbers and without a bound
    on clients.
    """

    def __init__(self, limit: int, window: int) -> None:
        self._limit = limit
        self._length = window
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)

    def takes(self, client: str, now: int) -> bool:
        window, into = divmod(now, self._length)
        previous, current = self._counts[client, window - 1], self._counts[client, window]
        if previous * (self._length - into) // self._length + current + 1 > self._limit:
            return False
        self._counts[client, window] += 1
        return True


# (time since the last request, client); few clients, so that no set of the table evicts
# one.
TRAFFIC = st.lists(st.tuples(st.integers(0, 1_500) | st.integers(0, 20), st.sampled_from("abcdef")), max_size=120)


@given(traffic=TRAFFIC, limit=st.integers(1, 12), window=st.integers(1, 1_000), start=st.integers(0, 10**12))
def test_table_counts_like_an_unbounded_storage(
    traffic: list[tuple[int, str]], limit: int, window: int, start: int
) -> None:
    clock = Clock(start)
    table, reference = Table(window * PER_MS, clock=clock), Unbounded(limit, window)
    for waited, client in traffic:
        clock.now += waited
        assert take(table, client, limit) == reference.takes(client, clock.now)


@given(
    traffic=st.lists(st.integers(0, 4_000), max_size=60),
    limit=st.integers(1, 30),
    window=st.integers(1_000, 60_000),
    start=st.integers(0, 10**12),
)
def test_retry_after_is_exact_to_the_second(traffic: list[int], limit: int, window: int, start: int) -> None:
    clock = Clock(start)
    limited = limiter(clock, limit, window_ms=window)
    for waited in traffic:
        clock.now += waited
        problem(limited)
    while (rejected := problem(limited)) is None:
        pass
    wait_s = int(rejected.headers()["Retry-After"])
    then = clock.now
    clock.now = then + (wait_s - 1) * 1000
    if wait_s > 1:
        assert problem(limited) is not None
    clock.now = then + wait_s * 1000 + 1  # no request comes back in less than a millisecond
    assert problem(limited) is None


# When ten were sent, when the eleventh is, and after how many seconds it would be
# accepted.
WAITS = {
    "the rest of the window": (0, 1, 10),
    "a part of a second as a whole one": (0, 1_999, 9),
    "one second when it is less": (0, 9_999, 1),
    "one second when it is a moment": (0, 10_000, 1),
}


@pytest.mark.parametrize(("sent", "then", "wait_s"), WAITS.values(), ids=WAITS)
def test_429_has_the_time_to_wait(sent: int, then: int, wait_s: int) -> None:
    clock = Clock(sent)
    limited = limiter(clock)
    assert accepted(limited, 10) == 10
    clock.now = then
    rejected = problem(limited)
    assert rejected is not None and (rejected.status, rejected.code) == (429, "rate_limit")
    expected = {
        "Retry-After": str(wait_s),
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": str(wait_s),
        "RateLimit-Policy": "10;w=10",
    }
    assert {name: value for name, value in rejected.headers().items() if name in expected} == expected


def networks(width: int, amount: int) -> list[str]:
    """An address in each of `amount` adjacent networks of this width."""
    first = int(ipaddress.IPv6Address("2001:db8::1"))
    return [str(ipaddress.IPv6Address(first + (number << (128 - width)))) for number in range(amount)]


# The addresses that send one request each, and how many are accepted when a client may
# send two.
TIERS = {
    "one address": (["2001:db8::1"] * 10, 2),
    "a new address of a /64 each time": (networks(128, 500), 2),
    "a new /64 of a /56 each time": (networks(64, 256), 16),
    "a new /56 of a /48 each time": (networks(56, 256), 128),
    "a new /48 each time": (networks(48, 500), 500),
    "one IPv4 address": (["203.0.113.77"] * 10, 2),
    "a new IPv4 address each time": ([f"203.0.113.{host}" for host in range(256)], 256),
}


@pytest.mark.parametrize(("addresses", "expected"), TIERS.values(), ids=TIERS)
def test_wider_network_has_a_higher_limit(addresses: list[str], expected: int) -> None:
    limited = limiter(Clock(), 2)
    assert sum(problem(limited, address) is None for address in addresses) == expected


def test_429_of_a_wide_network_has_its_limit() -> None:
    limited = limiter(Clock(), 2)
    rejected = [found for address in networks(64, 17) if (found := problem(limited, address))]
    assert [found.headers()["RateLimit-Limit"] for found in rejected] == ["16"]


def test_limit_of_0_is_no_limit_and_stores_nothing(memory: int) -> None:
    before = os.pread(memory, TABLE_BYTES, 0)
    assert accepted(limiter(Clock(), 0, memory), 5_000) == 5_000
    assert os.pread(memory, TABLE_BYTES, 0) == before


def test_two_limiters_over_one_table_share_the_count(memory: int) -> None:
    clock = Clock()
    one, other = limiter(clock, 10, memory), limiter(clock, 10, memory)
    assert accepted(one, 6) == 6
    assert accepted(other, 6) == 4
    assert accepted(one, 1) == 0


def test_worker_that_is_late_for_the_next_window_keeps_the_counts_of_another(memory: int) -> None:
    late, clock = Clock(9_999), Clock(9_999)
    assert accepted(limiter(clock, 10, memory), 10) == 10
    clock.now = 10_500
    assert accepted(limiter(clock, 10, memory), 1) == 1
    accepted(limiter(late, 10, memory), 1)
    assert accepted(limiter(clock, 10, memory), 10) == 0


WORKER = """
import sys
from ingest.collect.rate_limit import RateLimiter
from ingest.http.problem import Problem
from shared.settings import Settings

limited = RateLimiter(Settings(rate_limit=20, rate_window_ms=10_000), int(sys.argv[1]), lambda: 12_345_000_000)
for address in sys.stdin:
    try:
        limited.check(address.strip())
        print("accepted", flush=True)
    except Problem:
        print("rejected", flush=True)
"""


def test_two_processes_share_the_count(memory: int) -> None:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, str(memory)],
                    pass_fds=(memory,),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(2)
        ]
        pipes = [(worker.stdin, worker.stdout) for worker in workers]
        answers = [ask(pipes[turn % 2], ADDRESS) for turn in range(30)]
        assert answers == ["accepted"] * 20 + ["rejected"] * 10
        assert [ask(pipe, "203.0.113.78") for pipe in pipes] == ["accepted"] * 2
        for given, _ in pipes:
            assert given is not None
            given.close()


def ask(pipe: tuple[IO[str] | None, IO[str] | None], address: str) -> str:
    given, said = pipe
    assert given is not None and said is not None
    given.write(f"{address}\n")
    given.flush()
    return said.readline().strip()


def fill(table: Table, clients: int) -> int:
    """Let `clients` clients send one request each. Returns how many were accepted."""
    return sum(take(table, f"client {number}") for number in range(clients))


def known(table: Table, client: str) -> tuple[int, int]:
    """The counts of a client in the table: in the previous window, and in this one."""
    previous, current = table.sent(client)
    return previous.requests, current.requests


@pytest.mark.long
def test_million_clients_neither_grow_the_table_nor_free_a_limited_client(memory: int) -> None:
    clock = Clock(12_345)
    table = Table(WINDOW, memory, clock)
    take(table, "silent")
    clock.now += WINDOW_MS
    assert sum(take(table, "greedy") for _ in range(20)) == 10
    assert fill(table, 1_000_000) == 1_000_000  # a new client is never rejected for lack of room
    size = os.fstat(memory)
    assert size.st_size == MEMORY_BYTES and size.st_blocks * 512 <= MEMORY_BYTES + (2 << 20)  # whole huge pages
    assert not take(table, "greedy")
    assert known(table, "silent") == (0, 0)  # the most silent is forgotten first
    clock.now += WINDOW_MS
    assert known(table, "greedy") == (10, 0)


def test_no_client_is_evicted_while_there_is_room() -> None:
    clock, clients = Clock(), 2_000  # few enough that hardly ever more than eight share one set
    table = Table(WINDOW, clock=clock)
    for _ in range(10):
        assert fill(table, clients) == clients
    assert fill(table, clients) == 0
    clock.now += WINDOW_MS
    assert fill(table, clients) == 0
    clock.now += 2 * WINDOW_MS
    assert fill(table, clients) == clients


NAMED = {
    "IPv4": ("203.0.113.77", [b"203.0.113", ipaddress.ip_address("203.0.113.77").packed]),
    "IPv6": (
        "2001:db8:1234:5678:9abc:def0:1234:5678",
        [b"2001:db8", b"20010db812345678", bytes.fromhex("20010db812345678"), bytes.fromhex("20010db81234")],
    ),
}


@pytest.mark.parametrize(("address", "forms"), NAMED.values(), ids=NAMED)
def test_memory_contains_no_address_and_no_network(memory: int, address: str, forms: list[bytes]) -> None:
    before = os.pread(memory, TABLE_BYTES, 0)
    accepted(limiter(Clock(), 3, memory), 5, address)
    content = os.pread(memory, TABLE_BYTES, 0)
    assert content != before
    for form in forms:
        assert form not in content
        assert form[::-1] not in content


def test_client_has_another_tag_in_another_table() -> None:
    marks = set()
    for _ in range(2):
        descriptor = make_table()
        before = os.pread(descriptor, TABLE_BYTES, 0)
        accepted(limiter(Clock(), 3, descriptor), 1)
        after = os.pread(descriptor, TABLE_BYTES, 0)
        marks.add(bytes(new for old, new in zip(before, after, strict=True) if old != new))
        os.close(descriptor)
    assert len(marks) == 2


@pytest.mark.long
def test_429_over_http_counts_over_all_workers_and_never_with_a_key(tmp_path: Path) -> None:
    page = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
    body = b'{"consent":"granted","events":[{"name":"x","visitor":"visitor-1"}]}'
    with Server(tmp_path, workers=2, rate_limit=20, rate_window_ms=3_600_000) as server:
        answers = [server.request("POST", "/v1/events", body, page) for _ in range(40)]
        assert sum(answer.status == 200 for answer in answers) in {20, 21}  # 21: the hour of the clock ended in between
        rejected = answers[-1]
        assert (rejected.status, rejected.code) == (429, "rate_limit")
        assert 0 < int(rejected.headers["Retry-After"]) <= 3_601
        assert rejected.headers["RateLimit-Reset"] == rejected.headers["Retry-After"]
        assert rejected.headers["RateLimit-Policy"] == "20;w=3600"
        assert {server.request("POST", "/v1/events", body, keyed()).status for _ in range(5)} == {200}


def test_worker_without_a_table_counts_alone() -> None:
    with closing(Table(WINDOW)._memory) as memory:
        assert len(memory) == TABLE_BYTES
    clock = Clock()
    assert [accepted(limiter(clock), 12) for _ in range(2)] == [10, 10]
