"""P11: the IP address is used at ingest, and neither stored nor logged; everything else
is derived at fold, so a changed rule can be recounted.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from tests.builders.command import run_here
from tests.builders.logs import line, sealed
from tests.builders.server import Server, environment, run_foldlog
from tests.builders.wire import (
    VALID,
    page,
)

ADDRESSES = ("203.0.113.77", "203.0.113.78")


def test_address_of_the_client_is_neither_stored_nor_logged(tmp_path: Path) -> None:
    """Two addresses are two visitors: the address was used."""
    with Server(tmp_path, trusted_proxies="127.0.0.1", log_level="debug") as server:
        for address in ADDRESSES:
            assert server.exchange(page(VALID, f"X-Forwarded-For: {address}")).status == 200
            assert server.exchange(page(b"{", f"X-Forwarded-For: {address}")).status == 400
        server.exchange(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nbroken : x\r\n\r\n")
        assert len({line["visitor"] for line in server.lines()}) == 2
        server.fold()
        written = [path.read_bytes() for path in server.data.root.rglob("*") if path.is_file()]
        written.append(server.stderr().encode("utf-8"))
        assert not any(address.encode("ascii") in content for address in ADDRESSES for content in written)
        assert "from 127.0.0.1" not in server.stderr()


@pytest.mark.long
def test_rebuild_recounts_what_a_setting_changed(tmp_path: Path) -> None:
    """An own site that was not declared counted as a referrer; declared, the retained
    log is counted anew.
    """
    data = DataDirectory(tmp_path / "data")
    environ = environment(data.root)
    run_here(["token", "create"], environ)
    made = [line(f"event-{n}", referrer="https://shop.example.net/x") for n in range(3)]
    sealed(data, made)
    assert run_foldlog(["compact", "--once"], environ).returncode == 0
    span = ["--from", "2026-11-22", "--to", "2026-11-22", "--by", "referrer", "--csv"]
    assert "shop.example.net,3,1" in run_here(["report", *span], environ).stdout
    declared = environ | {"FOLDLOG_SITES": "example.com shop.example.net"}
    dry = run_here(["rebuild", "--dry-run"], declared)
    assert "1 of 1 days would change" in dry.stdout
    assert "shop.example.net,3,1" in run_here(["report", *span], environ).stdout
    rebuilt = run_here(["rebuild"], declared)
    assert "1 of 1 days changed" in rebuilt.stdout and re.search(r"2026-11-22 +3 +3 +1 +1 +3", rebuilt.stdout)
    assert run_here(["report", *span], environ).stdout == "value,events,visitors\n,3,1\n"
    assert run_here(["verify"], declared).returncode == 0
