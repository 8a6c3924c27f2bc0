"""An undeclared proxy is detected, reported until it is declared, and its address is
not stored.
"""

from __future__ import annotations

import ipaddress
import json
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest

from ingest.collect.undeclared_proxy import MIN_REQUESTS, UndeclaredProxyDetector
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.undeclared_proxy import WARNING, warning
from tests.builders.logs import data_directory
from tests.builders.server import Server, run_foldlog
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import until

PROXY = "127.0.0.77"
OTHER = "203.0.113.9"
DECLARED = Settings(trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))
# Two maintenance intervals of the worker (ingest/observe/background.py), and a margin.
NOTICED_S = 14.0


def watch(
    data: DataDirectory, addresses: Iterable[str], settings: Settings | None = None, log: SilentLog | None = None
) -> UndeclaredProxyDetector:
    """A worker that observed these addresses in this order, and reported."""
    watching = UndeclaredProxyDetector(data, settings or Settings(), log or SilentLog())
    for address in addresses:
        watching.observe(address)
    watching.report()
    return watching


# The addresses of the requests, and whether that is worth a warning.
SEEN: dict[str, tuple[list[str], bool]] = {
    "none": ([], False),
    "one address, too few requests": ([PROXY] * (MIN_REQUESTS - 1), False),
    "one address, enough requests": ([PROXY] * MIN_REQUESTS, True),
    "one address, many requests": ([PROXY] * 1_000, True),
    "two addresses": ([PROXY] * MIN_REQUESTS + [OTHER], False),
    "two addresses, the second first": ([OTHER] + [PROXY] * 1_000, False),
}


@pytest.mark.parametrize(("addresses", "expected"), SEEN.values(), ids=SEEN)
def test_one_address_is_reported_after_enough_requests(tmp_path: Path, addresses: list[str], expected: bool) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    watch(data, addresses, log=log)
    assert data.undeclared_proxy.exists() == expected
    assert warning(data, Settings()) == (WARNING if expected else None)
    assert log.events() == (["undeclared_proxy"] if expected else [])


def test_request_itself_writes_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    watching = UndeclaredProxyDetector(data, Settings(), SilentLog())
    for _ in range(1_000):
        watching.observe(PROXY)
    assert list(data.private.iterdir()) == []
    watching.report()
    assert [path.name for path in data.private.iterdir()] == ["one-address.json"]


def test_finding_is_reported_once(tmp_path: Path) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    watching = watch(data, [PROXY] * MIN_REQUESTS, log=log)
    kept = data.undeclared_proxy.stat()
    for _ in range(5):
        watching.observe(PROXY)
        watching.report()
    assert log.events() == ["undeclared_proxy"]
    assert data.undeclared_proxy.stat().st_mtime_ns == kept.st_mtime_ns


def test_second_address_withdraws_the_warning(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    watching = watch(data, [PROXY] * MIN_REQUESTS)
    watching.observe(OTHER)
    watching.report()
    assert not data.undeclared_proxy.exists()
    assert watching.ruled_out
    watching.report()
    assert warning(data, Settings()) is None


def test_worker_with_two_addresses_withdraws_the_warning_of_another(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    ruled_out = watch(data, [PROXY, OTHER])
    alone = watch(data, [PROXY] * MIN_REQUESTS)  # a page that kept its connection to this worker, say
    assert data.undeclared_proxy.exists()
    ruled_out.report()
    assert not data.undeclared_proxy.exists()
    alone.report()
    assert not data.undeclared_proxy.exists()


# What a worker observes after its predecessor's warning, and whether the warning stays.
AFTER_A_RESTART: dict[str, tuple[list[str], bool]] = {
    "nothing yet": ([], True),
    "the one address again": ([PROXY] * 3, True),
    "two addresses": ([PROXY, OTHER], False),
}


@pytest.mark.parametrize(("addresses", "stays"), AFTER_A_RESTART.values(), ids=AFTER_A_RESTART)
def test_warning_survives_the_worker_until_it_is_ruled_out(tmp_path: Path, addresses: list[str], stays: bool) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    watch(data, [PROXY] * MIN_REQUESTS)
    watch(data, addresses, log=log)
    assert data.undeclared_proxy.exists() == stays
    assert log.events() == []


def test_declared_proxies_withdraw_the_warning(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    watch(data, [PROXY] * MIN_REQUESTS)
    assert warning(data, Settings()) == WARNING
    assert warning(data, DECLARED) is None
    log = SilentLog()
    watch(
        data, [PROXY] * MIN_REQUESTS, DECLARED, log
    )  # declared, and still one address: another proxy is in front of it
    assert warning(data, DECLARED) == WARNING
    assert log.events() == ["undeclared_proxy"]


UNREADABLE = {
    "empty": b"",
    "torn": b"{",
    "array": b"[]",
    "wrong types": b'{"since":1}',
    "not UTF-8": b'{"since":"\xff"}',
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_file_that_cannot_be_read_says_nothing_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    data = data_directory(tmp_path)
    data.undeclared_proxy.write_bytes(content)
    assert warning(data, Settings()) is None
    watch(data, [PROXY] * MIN_REQUESTS)
    assert warning(data, Settings()) == WARNING


def test_address_is_neither_stored_nor_logged(tmp_path: Path) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    watch(data, [PROXY] * MIN_REQUESTS, DECLARED, log)
    content = data.undeclared_proxy.read_text()
    assert sorted(json.loads(content)) == ["requests", "since", "trusted_proxies"]
    assert PROXY not in content + repr(log.entries) + WARNING
    assert stat.S_IMODE(data.undeclared_proxy.stat().st_mode) == 0o600


@pytest.mark.long
def test_undeclared_proxy_shows_in_status_in_metrics_and_at_the_next_start(tmp_path: Path) -> None:
    page = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
    body = b'{"consent":"granted","events":[{"name":"x","visitor":"visitor-1"}]}'
    with Server(tmp_path) as server:
        assert b"\nfoldlog_undeclared_proxy 0.0\n" in server.request("GET", "/metrics").body
        for _ in range(60):
            assert server.request("POST", "/v1/events", body, page).status == 200
        until(server.data.undeclared_proxy.exists, timeout_s=NOTICED_S)
        assert b"\nfoldlog_undeclared_proxy 1.0\n" in server.request("GET", "/metrics").body
        assert json.loads(run_foldlog(["status", "--json"], server.environ).stdout)["warnings"] == [WARNING]
        assert server.get("/admin/api/status").json()["warnings"] == [WARNING]
        shown = run_foldlog(["status"], server.environ).stdout
        assert f"WARNING: {WARNING}" in " ".join(shown.split())
        said = [json.loads(line) for line in server.stderr().splitlines() if '"undeclared_proxy"' in line]
        assert [line["component"] for line in said] == ["ingest"] and 50 <= said[0]["requests"] <= 60

        assert server.stop() == 0
        server.stderr_path.write_text("")
        server.start()
        said = [json.loads(line) for line in server.stderr().splitlines() if '"undeclared_proxy"' in line]
        assert [(line["component"], line["reason"]) for line in said] == [("serve", WARNING)]
