"""One rate limit of several hosts, with real servers: what a client may send over all
of them, and that a store that stands still or is gone holds up no request.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.builders.rate_store_servers import KINDS, RateStoreServer
from tests.builders.server import Answer, Server
from tests.builders.waiting import until
from tests.builders.wire import VALID, page

pytestmark = [pytest.mark.component, pytest.mark.long]

LIMIT = 20
HOUR_MS = 3_600_000
FAILURES, BYPASSED = "foldlog_rate_store_failures_total", "foldlog_rate_store_bypassed_total"


@pytest.fixture(params=["redis", "postgres"], scope="module")
def store(request: pytest.FixtureRequest) -> Iterator[RateStoreServer]:
    with KINDS[request.param]() as running:
        yield running


Hosts = tuple[Server, Server]


@pytest.fixture(scope="module")
def hosts(store: RateStoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Two hosts behind a load balancer, which is the test; one has two workers."""
    with (
        host(tmp_path_factory.mktemp("one"), store, workers=2) as one,
        host(tmp_path_factory.mktemp("other"), store) as other,
    ):
        yield one, other


def host(directory: Path, store: RateStoreServer, **settings: object) -> Server:
    given: dict[str, object] = {"trusted_proxies": "127.0.0.1", "rate_limit": LIMIT, "rate_window_ms": HOUR_MS}
    server = Server(directory, **(given | settings))
    server.environ |= store.environ
    return server


@pytest.fixture(autouse=True)
def _up(hosts: Hosts) -> None:
    """Each test begins with a store that all workers have reached."""
    for server in hosts:
        until(partial(is_up, server), server.log_tail)


def is_up(server: Server) -> bool:
    return set(samples(server, "foldlog_rate_store_up")) == {1.0}


def samples(server: Server, name: str) -> list[float]:
    """The values of a metric, one a worker."""
    text = server.request("GET", "/metrics").body.decode("utf-8")
    families = text_string_to_metric_families(text)
    return [sample.value for family in families for sample in family.samples if sample.name == name]


def send(server: Server, address: str) -> Answer:
    return server.exchange(page(VALID, f"X-Forwarded-For: {address}"))


def accepted(hosts: Hosts, addresses: Sequence[str]) -> int:
    """How many of the requests from these addresses, to one host and the other in turn,
    are accepted.
    """
    statuses = Counter(send(hosts[number % 2], address).status for number, address in enumerate(addresses))
    assert set(statuses) <= {200, 429}
    return statuses[200]


def accepted_by_the_store(hosts: Hosts, client: Callable[[int], Sequence[str]]) -> int:
    """The same where the store decided on each request. On a busy machine it may be
    late for one: then it is tried with another client.
    """
    for number in range(100, 200):
        for server in hosts:
            until(partial(is_up, server), server.log_tail)
        before = [samples(server, BYPASSED) for server in hosts]
        found = accepted(hosts, client(number))
        if before == [samples(server, BYPASSED) for server in hosts]:
            return found
    raise AssertionError("the store was never in time")


def one_address(network: str) -> Callable[[int], Sequence[str]]:
    return lambda number: [f"{network}.{number}"] * (3 * LIMIT)


def many_networks(number: int) -> Sequence[str]:
    """Of one /56, which may send 8 times the limit."""
    return [f"2001:db8:{number}:{each % 256:x}::1" for each in range(10 * LIMIT)]


# Another one may be accepted where an hour ends within the test.
def test_hosts_share_one_limit(hosts: Hosts) -> None:
    assert accepted_by_the_store(hosts, one_address("198.51.100")) in {LIMIT, LIMIT + 1}
    until(lambda: {send(server, "192.0.2.1").status for server in hosts} == {429})
    for server in hosts:
        refused = send(server, "192.0.2.1")
        assert (refused.status, refused.code) == (429, "rate_limit")
        assert refused.headers["RateLimit-Limit"] == str(LIMIT)
        assert 0 < int(refused.headers["Retry-After"]) <= 2 * 3600
        assert send(server, "192.0.2.2").status == 200


def test_hosts_share_the_limit_of_a_wide_network(hosts: Hosts) -> None:
    assert accepted_by_the_store(hosts, many_networks) in {8 * LIMIT, 8 * LIMIT + 1}


def test_host_that_starts_anew_gives_no_client_its_limit_again(
    hosts: Hosts, store: RateStoreServer, tmp_path: Path
) -> None:
    used: list[str] = []

    def client(number: int) -> Sequence[str]:
        used.append(f"198.51.103.{number}")
        return [used[-1]] * (3 * LIMIT)

    assert accepted_by_the_store(hosts, client) in {LIMIT, LIMIT + 1}
    with host(tmp_path, store) as third:
        until(partial(is_up, third), third.log_tail)
        assert 429 in [send(third, used[-1]).status for _ in range(LIMIT)]


def test_store_knows_no_address(hosts: Hosts, store: RateStoreServer) -> None:
    addresses = ("203.0.113.77", "2001:db8:1234:5678:9abc:def0:1234:5678")
    before = store.entries()
    until(lambda: [send(hosts[0], address) for address in addresses] and store.entries() >= before + 4)
    held = store.dump() + hosts[0].stderr().encode()
    for address in addresses:
        packed = ipaddress.ip_address(address).packed
        forms = (address.encode(), packed, packed.hex().encode(), packed.hex()[:12].encode(), packed[:6])
        assert not [form for form in (*forms, b"203.0.113", b"2001:db8") if form in held]


def test_store_that_stands_still_holds_up_no_request(hosts: Hosts, store: RateStoreServer) -> None:
    """It would answer nothing before it goes on, which is after all of them."""
    store.stand_still()
    try:
        assert [send(hosts[1], f"192.0.2.{number}").status for number in range(10, 40)] == [200] * 30
        assert sum(samples(hosts[1], FAILURES)) >= 1
        assert sum(samples(hosts[1], BYPASSED)) >= 30
        assert not is_up(hosts[1])
        statuses = Counter(send(hosts[1], "192.0.2.50").status for _ in range(2 * LIMIT))
        assert statuses[200] in {LIMIT, LIMIT + 1}, "the table of the host decides alone"
    finally:
        store.go_on()
    until(lambda: is_up(hosts[1]), hosts[1].log_tail)
    assert accepted_by_the_store(hosts, one_address("198.51.101")) in {LIMIT, LIMIT + 1}
    assert_failure_is_said(hosts[1])


def test_store_that_is_killed_costs_no_event(hosts: Hosts, store: RateStoreServer) -> None:
    store.kill()
    try:
        assert accepted(hosts, ["192.0.2.60"] * (4 * LIMIT)) in {2 * LIMIT, 2 * LIMIT + 1, 2 * LIMIT + 2}
    finally:
        store.start()
    assert accepted_by_the_store(hosts, one_address("198.51.102")) in {LIMIT, LIMIT + 1}


def test_host_starts_and_stops_without_its_store(hosts: Hosts, store: RateStoreServer, tmp_path: Path) -> None:
    assert hosts
    store.stand_still()
    try:
        with host(tmp_path, store) as third:  # leaving it asserts its exit code
            assert send(third, "192.0.2.70").status == 200
            assert not is_up(third)
    finally:
        store.go_on()


def assert_failure_is_said(server: Server) -> None:
    said = [line for line in server.stderr().splitlines() if '"rate_store_failed"' in line]
    assert said and "192.0.2." not in server.stderr()
    assert any('"rate_store_up"' in line for line in server.stderr().splitlines())
