"""Own traffic is refused before anything is stored of it."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from ingest.collect.own_traffic import OwnTraffic
from ingest.http.problem import Problem
from tests.builders.wire import VALID, page
from tests.builders.worker import Worker

NETWORKS = [ipaddress.ip_network(each) for each in ("192.0.2.7/32", "198.51.100.0/24", "2001:db8:7::/48")]


@pytest.mark.parametrize("address", ["192.0.2.7", "198.51.100.200", "2001:db8:7:1::9"])
def test_own_address_is_refused(address: str) -> None:
    with pytest.raises(Problem) as caught:
        OwnTraffic(NETWORKS).check(address)
    assert (caught.value.status, caught.value.code) == (403, "excluded_network")
    assert address not in caught.value.detail


@pytest.mark.parametrize("address", ["192.0.2.8", "2001:db8:8::1", "fe80::1%eth0", "", "no address"])
def test_other_address_is_not(address: str) -> None:
    OwnTraffic(NETWORKS).check(address)
    OwnTraffic([]).check("192.0.2.7")


def test_own_traffic_is_neither_stored_nor_accepted(tmp_path: Path) -> None:
    with Worker(tmp_path, exclude_networks="192.0.2.0/24", trusted_proxies="127.0.0.1") as worker:
        own = {"X-Forwarded-For": "192.0.2.9"}
        refused = worker.exchange(page(VALID, "X-Forwarded-For: 192.0.2.9"))
        assert (refused.status, refused.json()["code"]) == (403, "excluded_network")
        assert worker.post([{"name": "a"}], headers=own).status == 200
        assert worker.exchange(page(VALID, "X-Forwarded-For: 203.0.113.9")).status == 200
        assert len(worker.appended(0)) == 2
