"""What a hit counts for whom."""

from __future__ import annotations

from ingest.http.client_address import rate_limit_networks
from ingest.rate_store.store import Amounts, Charge, charges_of

IPV4 = rate_limit_networks("203.0.113.7")


def test_hit_counts_each_amount_that_has_a_limit() -> None:
    assert charges_of(IPV4, Amounts(600, 30_000, 0), Amounts(1, 25, 9_000)) == [
        Charge("requests", "203.0.113.7", 600, 1),
        Charge("events", "203.0.113.7", 30_000, 25),
    ]


def test_amount_of_0_is_not_counted() -> None:
    assert charges_of(IPV4, Amounts(600, 30_000, 0), Amounts(0, 25, 0)) == [Charge("events", "203.0.113.7", 30_000, 25)]


def test_wider_network_has_its_multiple_of_each_limit() -> None:
    charges = charges_of(rate_limit_networks("2001:db8::1"), Amounts(10, 0, 1000), Amounts(1, 1, 50))
    assert [(charge.kind, charge.limit) for charge in charges] == [
        ("requests", 10),
        ("bytes", 1000),
        ("requests", 80),
        ("bytes", 8000),
        ("requests", 640),
        ("bytes", 64_000),
    ]


def test_kinds_and_networks_are_counted_apart() -> None:
    charges = charges_of(rate_limit_networks("2001:db8::1"), Amounts(1, 1, 1), Amounts(1, 1, 1))
    assert len({charge.client for charge in charges}) == 9
