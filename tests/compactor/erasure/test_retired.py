"""Erasures and what a retired instance has published: the order stays open where that
has the visitor, and the command says what to type.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from uuid import UUID

import pytest

from compactor.publishing.publish import retire_instance
from foldlog.commands.erase import show_retired
from foldlog.terminal import Console
from shared.erasures import create_request
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from shared.stores.postgres.retired import retired_holders
from tests.builders.logs import line
from tests.builders.postgres import Server
from tests.builders.server import ADMIN_TOKEN, bearer, run_foldlog
from tests.builders.server import Server as Service
from tests.builders.store_hosts import StoreHost

pytestmark = pytest.mark.component


def erased_after_retirement(address: str, root: Path, visitor: str) -> tuple[StoreHost, str]:
    """A host that erases a visitor after the other one, which had "gone" on
    example.com, is retired. Returns that one, and the request.
    """
    retired, host = (StoreHost(root / name, address) for name in "ab")
    for each, id_ in ((retired, "event-000001"), (host, "event-000002")):
        each.receive([line(id_, visitor="gone")])
        each.settle()
    retire_instance(host.data, host.settings, open_store(host.settings, host.instance), UUID(retired.instance))
    request = create_request(host.data, visitor, None)
    host.erase()
    host.settle()
    return retired, request.request


def order_of(address: str, request: str) -> tuple[str | None, bool]:
    """The visitor in it, and whether it has ended."""
    with connected(address) as connection:
        sql = "SELECT visitor, ended_at IS NOT NULL FROM analytics_orders WHERE request = %s"
        ((visitor, is_ended),) = connection.execute(sql, (request,)).fetchall()
    return visitor, is_ended


def test_an_order_stays_open_where_a_retired_instance_has_the_visitor(server: Server, tmp_path: Path) -> None:
    address = server.database()
    retired, request = erased_after_retirement(address, tmp_path, "gone")
    assert order_of(address, request) == ("gone", False)
    found = retired_holders(address, request)
    assert [str(each.instance) for each in found] == [retired.instance]
    out = io.StringIO()
    with redirect_stdout(out):
        console = Console()
        console.width = 1_000
        show_retired(console, found)
    assert f"type `foldlog store absorb {retired.instance}`" in out.getvalue()


def test_an_order_ends_where_no_retired_instance_has_the_visitor(server: Server, tmp_path: Path) -> None:
    address = server.database()
    _, request = erased_after_retirement(address, tmp_path, "another")
    assert order_of(address, request) == (None, True)
    assert retired_holders(address, request) == []


@pytest.mark.long
def test_the_command_and_the_api_say_who_still_has_the_visitor(server: Server, tmp_path: Path) -> None:
    address = server.database()
    retired = StoreHost(tmp_path / "a", address)
    retired.receive([line("event-000001", visitor="gone")])
    retired.settle()
    with Service(tmp_path, workers=1, store=address) as host:
        host.post([{"name": "pageview", "visitor": "gone"}])
        host.fold()
        assert run_foldlog(["store", "retire", retired.instance], host.environ).returncode == 0
        path, headers = "/admin/api/visitors/gone", bearer(ADMIN_TOKEN)
        (said,) = host.request("DELETE", path, headers=headers).json()["retired"]
        assert said["instance"] == retired.instance
        done = run_foldlog(["erase", "--visitor", "gone"], host.environ)
        assert done.returncode == 1, done.stderr
        assert f"foldlog store absorb {retired.instance}" in " ".join(done.stdout.split())
        assert run_foldlog(["store", "absorb", retired.instance], host.environ).returncode == 0
        assert host.request("DELETE", path, headers=headers).json()["retired"] == []
        assert run_foldlog(["erase", "--visitor", "gone"], host.environ).returncode == 0
