"""The client behind trusted proxies, and the canonical form of its address."""

from __future__ import annotations

import tracemalloc

import pytest
from multidict import CIMultiDict

from ingest.http.client_address import Proxies, plain_address, rate_limit_networks
from shared.settings import Settings, load

DIRECT = Settings()
BEHIND_PROXIES = load({"FOLDLOG_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1, fd00::/8"})
ADDRESSES: dict[str, tuple[str, str | None, str]] = {
    "no proxy": ("203.0.113.9", None, "203.0.113.9"),
    "untrusted peer that forges": ("203.0.113.9", "127.0.0.1", "203.0.113.9"),
    "trusted peer": ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
    "trusted peer, client forged one before": ("10.0.0.1", "127.0.0.1, 198.51.100.7", "198.51.100.7"),
    "two trusted hops": ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
    "two trusted hops, client forged one before": ("10.0.0.1", "1.2.3.4, 198.51.100.7, 192.0.2.1", "198.51.100.7"),
    "an untrusted hop between": ("10.0.0.1", "10.0.0.9, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
    "all trusted": ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    "nothing forwarded": ("10.0.0.1", None, "10.0.0.1"),
    "empty": ("10.0.0.1", "", "10.0.0.1"),
    "garbage": ("10.0.0.1", "unknown", "10.0.0.1"),
    "garbage before": ("10.0.0.1", "'; DROP TABLE, 198.51.100.7", "198.51.100.7"),
    "garbage after": ("10.0.0.1", "198.51.100.7, \udcff", "10.0.0.1"),
    "an address out of range": ("10.0.0.1", "999.1.1.1", "10.0.0.1"),
    "100 hops": ("10.0.0.1", ", ".join(["1.2.3.4"] * 99 + ["198.51.100.7"]), "198.51.100.7"),
    "IPv6": ("fd00::1", "2001:db8::7", "2001:db8::7"),
    "peer is a socket without an address": ("", "198.51.100.7", ""),
}


def headers_of(forwarded: str | None) -> CIMultiDict[str]:
    return CIMultiDict({"Host": "example.com"} | ({} if forwarded is None else {"X-Forwarded-For": forwarded}))


@pytest.mark.parametrize(("peer", "forwarded", "expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_address_is_the_last_hop_that_is_not_a_trusted_proxy(peer: str, forwarded: str | None, expected: str) -> None:
    assert Proxies(BEHIND_PROXIES).identify(peer, headers_of(forwarded)).address == expected


@pytest.mark.parametrize(("peer", "forwarded", "_expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_without_trusted_proxies_the_address_is_the_peer(peer: str, forwarded: str | None, _expected: str) -> None:
    assert Proxies(DIRECT).identify(peer, headers_of(forwarded)).address == peer


def test_second_forwarded_header_of_a_proxy_wins_over_the_client_s() -> None:
    """HAProxy's `option forwardfor` adds a header of its own after the client's."""
    headers = CIMultiDict([("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "198.51.100.7")])
    assert Proxies(BEHIND_PROXIES).identify("10.0.0.1", headers).address == "198.51.100.7"


def test_address_that_a_translator_wrote_is_no_proxy() -> None:
    """`64:ff9b::10.0.0.1` says of itself that it is a proxy; its own notation, listed,
    does.
    """
    headers = headers_of("198.51.100.7")
    assert Proxies(BEHIND_PROXIES).identify("64:ff9b::a00:1", headers).address == "10.0.0.1"
    listed = Proxies(load({"FOLDLOG_TRUSTED_PROXIES": "64:ff9b::a00:1"}))
    assert listed.identify("64:ff9b::10.0.0.1", headers).address == "198.51.100.7"


PLAIN: dict[str, tuple[str, str | None]] = {
    "IPv4": ("203.0.113.9", "203.0.113.9"),
    "IPv4 by a translator": ("64:ff9b::cb00:7109", "203.0.113.9"),
    "IPv4 by a translator, with a port": ("[64:ff9b::203.0.113.9]:443", "203.0.113.9"),
    "prefix that a network chose": ("64:ff9b:1::cb00:7109", "64:ff9b:1::cb00:7109"),
    "IPv4 with a port": ("203.0.113.9:4711", "203.0.113.9"),
    "IPv6": ("2001:DB8:0::7", "2001:db8::7"),
    "IPv6 in brackets": ("[2001:db8::7]", "2001:db8::7"),
    "IPv6 in brackets with a port": ("[2001:db8::7]:443", "2001:db8::7"),
    "IPv4 mapped into IPv6": ("::ffff:203.0.113.9", "203.0.113.9"),
    "the same, in hexadecimal": ("::ffff:cb00:7109", "203.0.113.9"),
    "with a zone": ("fe80::1%eth0", "fe80::1"),
    "with a zone and a port": ("[fe80::1%eth0]:443", "fe80::1"),
    "between blanks": (" 203.0.113.9 ", "203.0.113.9"),
    "a name": ("example.com", None),
    "a number": ("3405803785", None),
    "octal": ("0313.0.0161.011", None),
    "nothing": ("", None),
    "only a port": (":80", None),
    "bytes that are not UTF-8": ("\udcff", None),
}


@pytest.mark.parametrize(("text", "expected"), PLAIN.values(), ids=PLAIN)
def test_address_has_one_form(text: str, expected: str | None) -> None:
    assert plain_address(text) == expected


def test_peer_on_a_dual_stack_socket_is_trusted_by_its_ipv4_network() -> None:
    assert Proxies(BEHIND_PROXIES).is_trusted("::ffff:10.1.2.3")
    assert not Proxies(BEHIND_PROXIES).is_trusted("::ffff:11.1.2.3")


HOSTS: dict[str, tuple[str, dict[str, str], str]] = {
    "as requested": ("203.0.113.9", {}, "stats.example.com:8443"),
    "a trusted proxy gives another": ("10.0.0.1", {"X-Forwarded-Host": " Shop.Example "}, "shop.example"),
    "proxies give a list": (
        "10.0.0.1",
        {"X-Forwarded-Host": "shop.example, internal:8080"},
        "shop.example",
    ),
    "an untrusted client gives another": (
        "203.0.113.9",
        {"X-Forwarded-Host": "shop.example"},
        "stats.example.com:8443",
    ),
    "a trusted proxy gives an empty one": ("10.0.0.1", {"X-Forwarded-Host": ""}, "stats.example.com:8443"),
    "a trusted proxy gives none": ("10.0.0.1", {}, "stats.example.com:8443"),
}


@pytest.mark.parametrize(("peer", "headers", "expected"), HOSTS.values(), ids=HOSTS)
def test_host_is_the_requested_one(peer: str, headers: dict[str, str], expected: str) -> None:
    found = Proxies(BEHIND_PROXIES).identify(peer, CIMultiDict({"Host": "Stats.Example.com:8443"} | headers))
    assert (found.host, found.through_proxy) == (expected, peer == "10.0.0.1")


SAME: dict[str, tuple[str, str, int]] = {
    "IPv4 is itself": ("203.0.113.9", "203.0.113.9", 1),
    "IPv4 is not its neighbour": ("203.0.113.9", "203.0.113.8", 0),
    "two hosts of a /64": ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", 3),
    "two networks of a /56": ("2001:db8:1:200::1", "2001:db8:1:2ff::1", 2),
    "two networks of a /48": ("2001:db8:1:200::1", "2001:db8:1:ff00::1", 1),
    "two /48": ("2001:db8:1::1", "2001:db8:2::1", 0),
}


@pytest.mark.parametrize(("left", "right", "shared"), SAME.values(), ids=SAME)
def test_clients_share_the_limits_of_their_common_networks(left: str, right: str, shared: int) -> None:
    assert len(set(rate_limit_networks(left)) & set(rate_limit_networks(right))) == shared


def test_wider_network_has_a_higher_limit() -> None:
    assert [times for _, times in rate_limit_networks("2001:db8::1")] == [1, 8, 64]


def test_peer_without_an_address_has_a_limit_too() -> None:
    assert rate_limit_networks("") == (("", 1),)


def test_long_hosts_and_hops_are_not_remembered() -> None:
    """Else thousands of requests would leave their heads in memory, 8 KB each."""
    direct, behind = Proxies(DIRECT), Proxies(BEHIND_PROXIES)
    tracemalloc.start()
    for number in range(1_000):
        long = f"{number}{'a' * 8_000}"
        assert direct.identify("203.0.113.9", CIMultiDict({"Host": long})).host == long
        assert behind.identify("203.0.113.9", CIMultiDict({"Host": long})).host == long
        assert behind.identify("10.0.0.1", headers_of(long)).address == "10.0.0.1"
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1 << 20
