"""Erasures and absorbing: who is erased on the hosts that live is not brought back by
what a retired instance still has.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from compactor.absorb.leave_out import orders_for
from compactor.repair.verify import verify
from reports.hosts.erased import erased_visitors
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.stores.postgres.connection import connected
from tests.builders.absorbing import ALL, SERVER_IDS, absorb_unpublished, absorbed, check, hosts_of, retired
from tests.builders.logs import line
from tests.builders.postgres import Server
from tests.builders.store_hosts import StoreHost, counted_ids, totals
from tests.builders.stores import queried

pytestmark = pytest.mark.component
OF_VISITOR = [n for n in ALL if n % 7 == 0]
ORDERS = "SELECT visitor, ended_at IS NOT NULL FROM analytics_orders"


def erase(visitor: str, *hosts: StoreHost) -> None:
    """Asked of the first, carried out by all."""
    create_request(hosts[0].data, visitor, None)
    for host in hosts:
        host.erase()
        host.settle()
    for host in hosts:  # what the first has ordered meanwhile
        host.erase()
        host.settle()


def has(host: StoreHost, visitor: str) -> int:
    """How many events the archive and what was yielded have of a visitor."""
    with closing(duckdb.connect()) as database:
        return sum(
            len(database.execute("FROM read_parquet($1) WHERE visitor = $2", [str(path), visitor]).fetchall())
            for kind in ("archive", "yielded")
            for path in (host.data.root / kind).glob("*/*.parquet")
        )


def test_who_was_erased_before_does_not_come_back(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    erase("v0", other, host)
    assert queried(store, ORDERS) == [("v0", False)]  # it waits for the one that is gone
    absorb_unpublished(host, instance)
    assert has(host, "v0") == 0
    with connected(store) as connection:
        assert [*erased_visitors(connection)] == [str(instance)]  # answers go on leaving them out
    host.settle()
    assert has(host, "v0") == 0
    assert queried(store, ORDERS) == [(None, True)]
    check(tmp_path, (host, other), [n for n in ALL if n not in OF_VISITOR])
    assert load_snapshot(host.data).totals.erased == 5  # three of them there


def test_an_order_that_the_store_does_not_have_yet_is_known(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    create_request(host.data, "v0", None)
    host.erase()
    with connected(store) as connection:
        assert [each.visitor for each in orders_for(host.data, connection, instance)] == ["v0"]


@pytest.mark.long
def test_all_of_a_day_is_erased(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    instance = retired(gone, other)
    for number in range(7):
        erase(f"v{number}", other, host)
    assert absorbed(host, instance).events == len(SERVER_IDS)
    assert counted_ids(store, tmp_path) == dict.fromkeys(SERVER_IDS, 1)
    assert set(queried(store, ORDERS)) == {(None, True)}
    assert verify(host.data, host.settings, lambda _: None).findings == []


def test_who_is_erased_afterwards_goes(tmp_path: Path, store: str) -> None:
    gone, host, other = hosts_of(tmp_path, store)
    absorbed(host, retired(gone, other))
    erase("v0", other, host)
    assert has(host, "v0") == 0
    check(tmp_path, (host, other), [n for n in ALL if n not in OF_VISITOR])


@pytest.mark.long
def test_an_event_that_was_yielded_is_left_out(tmp_path: Path, server: Server) -> None:
    store = server.database()
    gone, host = (StoreHost(tmp_path / name, store) for name in ("gone", "host"))
    host.receive([line("event-000001", visitor="another")])
    gone.receive([line("event-000001", visitor="only-there")])
    for each in (host, gone):
        each.settle()
    assert totals(gone) == (0, 1)
    instance = retired(gone, host)
    erase("only-there", host)
    assert queried(store, ORDERS) == [("only-there", False)]
    absorbed(host, instance)
    assert has(host, "only-there") == 0
    assert queried(store, ORDERS) == [(None, True)]
    assert verify(host.data, host.settings, lambda _: None).findings == []


def test_a_retirement_ends_orders_about_whom_the_instance_does_not_have(tmp_path: Path, store: str) -> None:
    """It was asked while that host was away."""
    gone, host, other = hosts_of(tmp_path, store)
    for visitor in ("nobody", "by-server"):
        erase(visitor, other, host)
    assert set(queried(store, ORDERS)) == {("nobody", False), ("by-server", False)}
    retired(gone, other)
    assert set(queried(store, ORDERS)) == {(None, True), ("by-server", False)}
    assert UUID(gone.instance)
