"""The client's address behind trusted proxies, and forged by others.

Rows are named by their rule in docs/bad-input.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.builders.wire import (
    batch,
    event,
    page,
)
from tests.builders.worker import Worker


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("forged")) as running:
        yield running


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that trusts the test as a proxy."""
    with Worker(tmp_path_factory.mktemp("proxied"), trusted_proxies="127.0.0.1") as running:
        yield running


FORGED = {
    "forwarded-for: no header": [],
    "forwarded-for: our own address": ["X-Forwarded-For: 127.0.0.1"],
    "forwarded-for: another address": ["X-Forwarded-For: 203.0.113.9"],
    "forwarded-for: two headers": ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 203.0.113.10"],
    "forwarded-for: 100 addresses": ["X-Forwarded-For: " + ", ".join(f"203.0.113.{n}" for n in range(100))],
    "forwarded-for: IPv6": ["X-Forwarded-For: 2001:db8::9"],
    "forwarded-for: noise": ["X-Forwarded-For: \xff, unknown, _hidden, 1.2.3"],
    "forwarded-for: other headers": [
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 203.0.113.9",
        "X-Forwarded-Host: evil.example",
    ],
}


def visitor(worker: Worker, *headers: str) -> tuple[str, str]:
    """The visitor and the site stored for a request with these headers."""
    id_ = f"forged-{time.monotonic_ns()}"
    assert worker.exchange(page(batch(event(id=id_)), *headers)).status == 200
    (found,) = [(line["visitor"], line["site"]) for line in worker.lines() if line["id"] == id_]
    return found


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_address_forwarded_by_an_untrusted_peer_is_ignored(worker: Worker, headers: list[str]) -> None:
    assert visitor(worker, *headers) == visitor(worker)


PROXIED = {
    "forwarded-for: forged before the proxy's": ["X-Forwarded-For: 127.0.0.1, 198.51.100.1, 203.0.113.9"],
    "forwarded-for: forged in a header of its own": ["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.9"],
    "forwarded-for: 100 forged": ["X-Forwarded-For: " + "198.51.100.1, " * 100 + "203.0.113.9"],
    "forwarded-for: forged noise": ["X-Forwarded-For: \xff, <script>, 203.0.113.9"],
}


@pytest.mark.parametrize("headers", PROXIED.values(), ids=PROXIED)
def test_trusted_proxy_determines_the_address(proxied: Worker, headers: list[str]) -> None:
    assert visitor(proxied, *headers) == visitor(proxied, "X-Forwarded-For: 203.0.113.9")
    assert visitor(proxied, *headers) != visitor(proxied, "X-Forwarded-For: 198.51.100.1")
