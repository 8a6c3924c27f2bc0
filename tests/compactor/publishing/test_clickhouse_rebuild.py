"""A rebuild of a ClickHouse store: all hosts fill a second table, and answers come from
the first one until it takes its place; with an old server in two shards and with
today's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from compactor.claims.own_rows import OwnRows
from compactor.claims.writers import begin_writing, end_writing
from compactor.publishing.changes import SnapshotChanges
from compactor.publishing.fill_rebuilt import publish_by_months
from compactor.publishing.instance import instance_id
from compactor.publishing.publish import rebuild_store, retire_instance
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import encode_snapshot
from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.rebuild import Rebuild
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.clickhouse.tables import events_table
from shared.stores.ledger import Position, StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from tests.builders.clickhouse_kinds import KINDS, ClickHouses, running
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, store_settings, wrong

pytestmark = pytest.mark.component
DAY_MS = 86_400_000


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> Iterator[ClickHouses]:
    with running(request.param) as found:
        yield found


def host(root: Path, name: str) -> DataDirectory:
    """Events of this month and of the last one."""
    data = data_directory(root / name)
    sealed(data, [line(f"{name}-{n}", NOON - n * DAY_MS) for n in range(30)])
    fold_all(data)
    return data


def opened(data: DataDirectory, address: str, database: str = "") -> ClickHouseStore:
    store = open_store(store_settings(data, store=address, database_url=database), instance_id(data))
    assert isinstance(store, ClickHouseStore)
    return store


def counted(servers: ClickHouses, address: str) -> list[str]:
    cluster = parse_cluster(address)
    return sorted(servers.ask(f"SELECT id FROM {cluster.database}.{events_table(cluster)} FINAL").splitlines())


def tables(servers: ClickHouses, address: str) -> set[str]:
    """Of the first shard, but the one over all shards."""
    sql = f"SELECT name FROM system.tables WHERE database = '{parse_cluster(address).database}'"
    return set(servers.ask(sql).split()) - {"analytics_events_all"}


@pytest.mark.long
def test_answers_come_from_the_old_table_until_all_hosts_have_filled_the_new_one(
    tmp_path: Path, servers: ClickHouses, server: Server
) -> None:
    address, database = servers.database(), server.database()
    hosts = [host(tmp_path, name) for name in ("gone", "a", "b")]
    for data in hosts:
        publish(data, store=address, database_url=database)
    gone, first, second = hosts
    settings = store_settings(first, store=address, database_url=database)
    store = opened(first, address, database)
    retire_instance(first, settings, store, UUID(instance_id(gone)))
    before = counted(servers, address)
    assert len(before) == 90
    _damage(store, "a-1")
    rebuild_store(first, settings, store)
    assert len(store.rebuild.waits_for()) == 1
    assert counted(servers, address) == [each for each in before if each != "a-1"]
    sealed(first, [line("a-new")])
    fold_all(first)
    for data in (first, second):
        publish(data, store=address, database_url=database)
    assert tables(servers, address) == {"analytics_events", "analytics_folded"}
    publish(first, store=address, database_url=database)
    assert counted(servers, address) == sorted([*before, "a-new"])
    assert wrong(first, store) == []
    assert sum(bool(each.retired_at) for each in store.instances()) == 1


@pytest.mark.long
def test_a_host_that_inserts_is_waited_for(tmp_path: Path, servers: ClickHouses, server: Server) -> None:
    address, database = servers.database(), server.database()
    first, second = (host(tmp_path, name) for name in "ab")
    for data in (first, second):
        publish(data, store=address, database_url=database)
    store = opened(first, address, database)
    rebuild_store(first, store_settings(first, store=address, database_url=database), store)
    publish(second, store=address, database_url=database)
    store.rebuild.order()  # once more
    publish(second, store=address, database_url=database)
    with connected(database) as connection:
        begin_writing(connection, UUID(instance_id(second)))
        publish(first, store=address, database_url=database)
        assert store.rebuild.is_filling()
        assert store.rebuild.waits_for() == []
        end_writing(connection, UUID(instance_id(second)))
    publish(first, store=address, database_url=database)
    assert not store.rebuild.is_filling()
    assert len(counted(servers, address)) == 60


@pytest.mark.long
def test_a_directory_that_is_behind_its_store_replaces_what_is_there(tmp_path: Path, servers: ClickHouses) -> None:
    address, data = servers.database(), host(tmp_path, "a")
    publish(data, store=address)
    copied = tmp_path / "copied"
    shutil.copytree(data.root, copied)
    sealed(data, [line("lost")])
    fold_all(data)
    publish(data, store=address)
    restored = DataDirectory(copied)
    sealed(restored, [line("new")])
    fold_all(restored)
    with pytest.raises(StoreRefused, match="foldlog store rebuild"):
        publish(restored, store=address)
    store = opened(restored, address)
    rebuild_store(restored, store_settings(restored, store=address), store)
    assert counted(servers, address) == sorted([*(f"a-{n}" for n in range(30)), "new"])
    assert wrong(restored, store) == []


class Failing(ClickHouse):
    """Dies after some statements."""

    left = 0

    def run(self, sql: str) -> None:
        if not Failing.left:
            raise StoreUnavailable(str(self), "killed")
        Failing.left -= 1
        super().run(sql)


@pytest.mark.long
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.whole), 2])
def test_an_end_that_is_cut_off_anywhere_goes_on(tmp_path: Path, servers: ClickHouses, step: int) -> None:
    """After each statement, in the sample after each second."""
    address, data = servers.database(), host(tmp_path, "a")
    publish(data, store=address)
    before, cluster = counted(servers, address), parse_cluster(address)
    for statements in range(0, 3 * len(cluster.shards), step):
        store = opened(data, address)
        _damage(store, "a-1")
        OwnRows(data, store).order_rebuild()
        _fill(data, store)
        Failing.left = statements
        with pytest.raises(StoreUnavailable, match="killed"):
            Rebuild(cluster, [Failing(cluster, shard) for shard in cluster.shards]).end()
        sealed(data, [line(f"new-{statements}")])
        fold_all(data)
        before = sorted([*before, f"new-{statements}"])
        for _ in range(2):
            publish(data, store=address)
        assert counted(servers, address) == before, statements
        assert wrong(data, store) == []
        assert tables(servers, address) == {"analytics_events", "analytics_folded"}


def _fill(data: DataDirectory, store: ClickHouseStore) -> None:
    snapshot = load_snapshot(data)
    held = store.position()
    assert held
    with closing(connect(64 << 20, 1)) as database:
        changes = partial(SnapshotChanges, database, data)
        after = Position(held.instance, held.generation, held.sha256, snapshot)
        assert publish_by_months(store.rebuilt(), after, encode_snapshot(snapshot), changes)


def _damage(store: ClickHouseStore, id_: str) -> None:
    """An event is lost on whichever shard has it."""
    for server in store.rebuild.servers:
        server.run(f"ALTER TABLE analytics_events DELETE WHERE id = '{id_}'")
        while server.rows("SELECT count() FROM system.mutations WHERE NOT is_done")[0][0]:
            pass
