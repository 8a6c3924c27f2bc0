"""One spelling of a host for door, fold and settings."""

from __future__ import annotations

import pytest

from shared.host_names import SITE, comparable, host_of, listed_site, own_hosts
from tests.builders.netlocs import NETLOCS, ODD_NETLOCS


@pytest.mark.parametrize(("netloc", "host"), NETLOCS.items())
def test_host_of_a_netloc(netloc: str, host: str) -> None:
    assert host_of(netloc) == host
    assert SITE.fullmatch(host)


@pytest.mark.parametrize(("netloc", "host"), ODD_NETLOCS.items())
def test_only_a_to_z_have_a_lower_case(netloc: str, host: str) -> None:
    assert host_of(netloc) == host


@pytest.mark.parametrize("netloc", ["example.com:port", "[2001", "[::1]x", "a b", "", "."])
def test_what_is_no_host_is_no_site(netloc: str) -> None:
    assert not SITE.fullmatch(host_of(netloc))


@pytest.mark.parametrize(
    ("netloc", "scheme", "expected"),
    [
        ("Example.com:443", "https", "example.com"),
        ("example.com.:80", "http", "example.com"),
        ("example.com:80", "https", "example.com:80"),
        ("example.com.:8080", "http", "example.com:8080"),
        ("[::1]:443", "https", "[::1]"),
        ("[::1]", "https", "[::1]"),
        ("example.com:443", "", "example.com:443"),
    ],
)
def test_default_port_is_no_difference(netloc: str, scheme: str, expected: str) -> None:
    assert comparable(netloc, scheme) == expected


def test_own_hosts_are_those_with_and_without_www() -> None:
    assert own_hosts(("example.com", "www.shop.example")) == [
        "example.com",
        "shop.example",
        "www.example.com",
        "www.shop.example",
    ]


@pytest.mark.parametrize(
    ("host", "site"),
    [("example.com", "example.com"), ("www.example.com", "example.com"), ("www.a.example", "www.a.example"),
     ("a.example", "www.a.example"), ("wwwexample.com", None), ("www.", None), ("", None)],
)  # fmt: skip
def test_listed_site_is_the_host_or_differs_by_www(host: str, site: str | None) -> None:
    assert listed_site(host, ("example.com", "www.a.example")) == site
