"""The rate limit of two real workers that count together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.server import Server
from tests.builders.wire import (
    CONSENT,
    HOST,
    JSON,
    VALID,
    keyed,
    page,
    pipelined,
    wire,
)
from tests.builders.worker import Worker

SITE = "shop.example"
ORIGIN = f"Origin: https://{SITE}"
LIMIT = 20


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers behind a trusted proxy, which is the test; few requests per
    client.
    """
    with Server(
        tmp_path_factory.mktemp("limited"),
        workers=2,
        sites=f"{SITE} {HOST}",
        trusted_proxies="127.0.0.1",
        rate_limit=LIMIT,
        rate_window_ms=3_600_000,
    ) as running:
        yield running


def from_address(address: str, body: bytes = VALID) -> bytes:
    return page(body, f"X-Forwarded-For: {address}")


def test_client_beyond_its_limit_gets_429_with_retry_after(limited: Server) -> None:
    """Both workers count for one limit, whichever gets the connection."""
    statuses = Counter(limited.exchange(from_address("192.0.2.1")).status for _ in range(2 * LIMIT))
    assert set(statuses) == {200, 429}
    assert LIMIT <= statuses[200] <= LIMIT + 1
    answer = limited.exchange(from_address("192.0.2.1"))
    assert (answer.status, answer.code) == (429, "rate_limit")
    assert 0 < int(answer.headers["Retry-After"]) <= 2 * 3600
    assert answer.headers["RateLimit-Limit"] == str(LIMIT)
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["RateLimit-Reset"] == answer.headers["Retry-After"]
    assert answer.headers["RateLimit-Policy"] == f"{LIMIT};w=3600"
    assert limited.exchange(from_address("192.0.2.2")).status == 200


def test_client_on_one_connection_has_the_whole_limit(limited: Server) -> None:
    """The limit is not divided among workers."""
    statuses = pipelined(limited.port, [from_address("192.0.2.3")] * (2 * LIMIT))
    assert statuses == [200] * LIMIT + [429] * LIMIT


def test_page_of_another_host_can_read_the_429(limited: Server) -> None:
    sent = wire(ORIGIN, CONSENT, JSON, "X-Forwarded-For: 192.0.2.4", body=VALID)
    assert pipelined(limited.port, [sent] * (LIMIT + 1))[-1] == 429
    answer = limited.exchange(sent)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (429, f"https://{SITE}")


def test_requests_with_a_key_are_neither_limited_nor_counted(limited: Server) -> None:
    sent = keyed(VALID, "X-Forwarded-For: 192.0.2.5")
    assert set(pipelined(limited.port, [sent] * (3 * LIMIT))) == {200}
    assert set(pipelined(limited.port, [from_address("192.0.2.5")] * LIMIT)) == {200}


def test_request_rejected_before_the_limit_is_not_counted(limited: Server) -> None:
    """Otherwise a page of another site could use up a visitor's limit."""
    sent = wire("Origin: https://evil.example", CONSENT, JSON, "X-Forwarded-For: 192.0.2.6", body=VALID)
    assert set(pipelined(limited.port, [sent] * (3 * LIMIT))) == {403}
    assert limited.exchange(from_address("192.0.2.6")).status == 200


def test_ten_thousand_addresses_of_one_network_are_one_client(limited: Server) -> None:
    """A household has a /64, and so does an attacker."""
    addresses = [f"2001:db8:1:1:{number:x}:{number * 7919 % 65536:x}::{number:x}" for number in range(10_000)]
    statuses = Counter(pipelined(limited.port, [from_address(address) for address in addresses]))
    assert statuses == {200: LIMIT, 429: 10_000 - LIMIT}
    assert limited.exchange(from_address("2001:db8:1:2::1")).status == 200
    assert limited.exchange(from_address("2001:db8:2:1::1")).status == 200


def test_many_networks_of_one_customer_are_limited_together(limited: Server) -> None:
    """A /56 has 256 networks and may send 8 times the limit."""
    addresses = [f"2001:db8:3:{number % 256:x}::1" for number in range(12 * LIMIT)]
    statuses = Counter(pipelined(limited.port, [from_address(address) for address in addresses]))
    assert statuses == {200: 8 * LIMIT, 429: 4 * LIMIT}
    assert limited.exchange(from_address("2001:db8:3:100::1")).status == 200


def test_without_a_limit_no_client_is_limited(tmp_path: Path) -> None:
    """FOLDLOG_RATE_LIMIT=0."""
    with Worker(tmp_path, rate_limit=0) as unlimited:
        assert set(pipelined(unlimited.port, [page(b"{")] * 2000)) == {400}
