"""What one client may send besides requests: events, and the bytes of log that they
become. A batch is counted whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.leases import LEASES_MIN
from ingest.collect.rate_limit import RateLimiter
from ingest.collect.rate_table import Table
from ingest.http.problem import Problem
from ingest.rate_store.store import Amounts
from shared.rate_table import TABLE_BYTES, make_table
from shared.settings import Settings
from tests.builders.server import ADMIN_TOKEN, Server, bearer
from tests.builders.wire import batch, event, keyed, page, pipelined, wire

ADDRESS = "203.0.113.77"
WINDOW_MS = 10_000
PER_MS = 1_000_000
LIMITS = Amounts(100, 50, 4_000)


class Clock:
    """A clock in nanoseconds that a test moves; `now` is in milliseconds."""

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now * PER_MS


def limiter(clock: Clock, limits: Amounts = LIMITS, descriptor: int = -1) -> RateLimiter:
    settings = Settings(
        rate_limit=limits.requests,
        rate_limit_events=limits.events,
        rate_limit_bytes=limits.bytes,
        rate_window_ms=WINDOW_MS,
    )
    return RateLimiter(settings, descriptor, clock)


def sends(limited: RateLimiter, events: int, log_bytes: int, address: str = ADDRESS) -> Problem | None:
    """The problem of a request that brings this; None when it was accepted."""
    try:
        limited.check(address)
        limited.charge(address, Amounts(0, events, log_bytes))
    except Problem as refused:
        return refused
    return None


# Name: (batches of (events, bytes), how many are accepted, of what there is too much)
BATCHES: dict[str, tuple[list[tuple[int, int]], int, str]] = {
    "one event each": ([(1, 1)] * 60, 50, "events"),
    "many events each": ([(20, 1)] * 3, 2, "events"),
    "few long events": ([(1, 1_000)] * 6, 4, "bytes"),
    "events that are all rejected become no log": ([(25, 0)] * 3, 2, "events"),
    "as many as there are": ([(50, 4_000)] * 2, 1, "events"),
}


@pytest.mark.parametrize(("batches", "accepted", "kind"), BATCHES.values(), ids=BATCHES)
def test_each_limit_is_exact_and_named(batches: list[tuple[int, int]], accepted: int, kind: str) -> None:
    limited = limiter(Clock(12_345))
    answers = [sends(limited, *each) for each in batches]
    assert answers.count(None) == accepted
    refused = next(answer for answer in answers if answer)
    assert (refused.status, refused.code) == (429, "rate_limit")
    assert kind in refused.detail and refused.headers()["RateLimit-Policy"].endswith(f'comment="{kind}"')


def test_refused_batch_counts_neither_events_nor_bytes() -> None:
    limited = limiter(Clock())
    assert sends(limited, 30, 100) is None
    for _ in range(20):
        refused = sends(limited, 30, 100)
        assert refused is not None and refused.headers()["RateLimit-Remaining"] == "20"
    assert sends(limited, 20, 3_900) is None


def test_client_that_used_up_its_events_is_refused_before_its_body_is_read() -> None:
    limited = limiter(Clock())
    assert sends(limited, 50, 100) is None
    for _ in range(1_000):  # none of which counts, either
        with pytest.raises(Problem, match="too many events"):
            limited.check(ADDRESS)
    assert limited._table.sent(ADDRESS)[1] == Amounts(1, 50, 100)


# A batch that no waiting would help: what it is answered.
TOO_LARGE = {"events": ((51, 1), "too_many_events"), "bytes": ((1, 4_001), "too_large")}


@pytest.mark.parametrize(("brought", "code"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_batch_above_the_whole_limit_is_refused_for_good(brought: tuple[int, int], code: str) -> None:
    limited = limiter(Clock())
    refused = sends(limited, *brought)
    assert refused is not None and (refused.status, refused.code, refused.retry_after_s) == (413, code, None)
    assert sends(limited, 50, 4_000) is None


def test_default_limits_take_any_batch() -> None:
    """Whatever the largest batch of a page becomes: thrice its bytes, 320 an event."""
    settings = Settings()
    assert settings.max_events <= settings.rate_limit_events
    assert 3 * (settings.max_body_bytes + 32_768) + 320 * settings.max_events <= settings.rate_limit_bytes


def test_limit_of_0_is_none_of_its_kind() -> None:
    limited = limiter(Clock(), Amounts(0, 5, 0))
    assert [sends(limited, 0, 10**9) for _ in range(500)] == [None] * 500
    assert [sends(limited, 1, 10**9) is None for _ in range(7)] == [True] * 5 + [False] * 2


def test_wider_networks_have_multiples_of_each_limit() -> None:
    limited = limiter(Clock(), Amounts(1000, 10, 0))
    answers = [sends(limited, 5, 0, f"2001:db8:0:{number:x}::1") for number in range(40)]
    assert answers.count(None) == 16  # 8 times ten events in a /56


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = make_table()
    yield descriptor
    os.close(descriptor)


def test_workers_count_events_and_bytes_together(memory: int) -> None:
    clock = Clock()
    one, other = limiter(clock, LIMITS, memory), limiter(clock, LIMITS, memory)
    assert [sends((one, other)[turn % 2], 10, 10) is None for turn in range(8)] == [True] * 5 + [False] * 3


def test_worker_of_another_version_counts_alone(tmp_path: Path) -> None:
    """`serve` of the version before has a table of another size, and starts this one's
    workers until it is started anew.
    """
    with open(tmp_path / "table", "wb+") as file:
        file.truncate(TABLE_BYTES // 2)
        assert sends(limiter(Clock(), LIMITS, file.fileno()), 1, 1) is None


BROUGHT = st.tuples(st.integers(0, 4_000), st.integers(0, 50), st.integers(0, 4_000))


@given(traffic=st.lists(BROUGHT, max_size=40), last=st.tuples(st.integers(1, 50), st.integers(1, 4_000)))
def test_retry_after_is_true(traffic: list[tuple[int, int, int]], last: tuple[int, int]) -> None:
    """After that time, and a second before it not: with requests, events and bytes."""
    clock = Clock()
    limited = limiter(clock, Amounts(12, 50, 4_000))
    for waited, events, log_bytes in traffic:
        clock.now += waited
        sends(limited, events, log_bytes)
    refused = sends(limited, *last)
    while refused is None:
        refused = sends(limited, *last)
    wait_s = refused.retry_after_s or 0
    clock.now += wait_s * 1000 + 1  # no request comes back in less than a millisecond
    later = sends(limited, *last)
    # Before its body is read, a client is told when it may send anything at all.
    assert later is None or (later.retry_after_s or 0) <= 20
    if later is not None:
        clock.now += (later.retry_after_s or 0) * 1000 + 1
        assert sends(limited, *last) is None


@given(sizes=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 9_000)), min_size=1, max_size=60))
def test_busy_client_gets_its_limit_and_no_more(sizes: list[tuple[int, int]]) -> None:
    """Leases are counted before they are used, and nothing is counted twice."""
    limits = Amounts(100_000, 200 * LEASES_MIN, 2_000 * LEASES_MIN)
    limited, table = limiter(Clock(), limits), Table(WINDOW_MS * PER_MS, clock=Clock())
    for events, log_bytes in sizes * 3:
        is_taken = sends(limited, events, log_bytes) is None
        fits = table.take([(ADDRESS, 1)], limits, Amounts(1, events, log_bytes)) is None
        assert is_taken == fits


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Behind a trusted proxy, which is the test; few of everything."""
    with Server(
        tmp_path_factory.mktemp("limited"),
        trusted_proxies="127.0.0.1",
        rate_limit=100,
        rate_limit_events=50,
        rate_limit_bytes=100_000,
        rate_limit_key=5,
        rate_limit_token=3,
        rate_window_ms=3_600_000,
    ) as running:
        yield running


def from_address(address: str, events: int, **fields: object) -> bytes:
    return page(batch(*[event(**fields)] * events), f"X-Forwarded-For: {address}")


def test_batch_beyond_the_events_of_a_client_is_refused_whole(limited: Server) -> None:
    sent = from_address("192.0.2.11", 30)
    before = len(limited.lines())
    assert limited.exchange(sent).status == 200
    answer = limited.exchange(sent)
    assert (answer.status, answer.code) == (429, "rate_limit")
    assert answer.headers["RateLimit-Limit"] == "50" and answer.headers["RateLimit-Remaining"] == "20"
    assert 0 < int(answer.headers["Retry-After"]) <= 2 * 3600
    assert "events" in answer.json()["detail"]
    assert limited.exchange(from_address("192.0.2.12", 30)).status == 200  # its neighbour
    assert limited.exchange(from_address("192.0.2.11", 20)).status == 200
    assert len(limited.lines()) == before + 80


def test_bytes_of_log_are_counted_as_they_are_written(limited: Server) -> None:
    sent = from_address("192.0.2.13", 5, props={"text": "x" * 2000})
    before = len(limited.lines())
    statuses = pipelined(limited.port, [sent] * 20)
    lines = limited.lines()[before:]
    written = sum(len(line["props"]["text"]) for line in lines)
    assert statuses == [200] * statuses.count(200) + [429] * statuses.count(429)
    assert len(lines) == 5 * statuses.count(200) and 80_000 <= written <= 100_000
    assert "bytes" in limited.exchange(sent).json()["detail"]


def test_dry_run_and_rejected_events_count(limited: Server) -> None:
    """They are decoded and checked like others."""
    dry = from_address("192.0.2.14", 25).replace(b"/v1/events", b"/v1/events?dry_run=1", 1)
    bad = from_address("192.0.2.15", 25, id="!")
    assert pipelined(limited.port, [dry] * 3) == [200, 200, 429]
    assert pipelined(limited.port, [bad] * 3) == [422, 422, 429]


def test_key_has_a_limit_of_its_own(limited: Server) -> None:
    sent = keyed(batch(*[event()] * 100))
    assert pipelined(limited.port, [sent] * 7) == [200] * 5 + [429] * 2
    assert "this key" in limited.exchange(sent).json()["detail"]


def test_token_has_a_limit_of_its_own(limited: Server) -> None:
    answers = [limited.request("GET", "/admin/api/status", b"", bearer(ADMIN_TOKEN)) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 2
    assert answers[-1].code == "rate_limit" and "this token" in answers[-1].json()["detail"]
    assert limited.request("GET", "/admin/api/status", b"", bearer("wrong")).status == 401
    assert limited.exchange(wire(method="GET", path="/admin/")).status == 200  # the page itself needs no token


# What is refused after its body was read: its body, and its status before the limit.
REFUSED = {
    "a no in the batch": (b'{"events":[%b],"consent":"denied"}' % b",".join([b'{"name":"a"}'] * 20), 403),
    "no JSON": (b'{"name":"' * 3_000, 400),
    "no batch": (b'{"events":[%b],"more":1}' % b",".join([b'{"name":"%b"}' % (b"a" * 900)] * 30), 422),
    "few bytes of log from a large body": (b'{"events":[{"name":"!!"%b}]}' % (b" " * 30_000), 200),
    "an event that is rejected": (b'{"events":[{"name":"a","x":"%b"}]}' % (b"x" * 30_000), 422),
}


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=list(REFUSED))
def test_what_is_refused_or_becomes_no_log_counts_as_well(limited: Server, number: int) -> None:
    """It has cost as much as what is stored, and may be sent a hundred times a
    second.
    """
    body, status = list(REFUSED.values())[number]
    statuses = pipelined(limited.port, [page(body, f"X-Forwarded-For: 192.0.2.{30 + number}")] * 8)
    assert statuses == [status] * statuses.count(status) + [429] * statuses.count(429)
    assert 2 <= statuses.count(status) <= 4
