"""What a host of a ClickHouse store notes, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import rebuild_store, retire_instance
from shared.disk.layout import DataDirectory
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.tables import events_table
from shared.stores.ledger import StoreRefused
from shared.stores.open_store import open_store
from tests.builders import clickhouse
from tests.builders.logs import data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, store_settings

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def shards() -> Iterator[clickhouse.Shards]:
    with clickhouse.running(2) as found:
        yield found


def events(shards: clickhouse.Shards, address: str) -> list[str]:
    """Those that count."""
    cluster = parse_cluster(address)
    return sorted(shards.ask(f"SELECT id FROM {cluster.database}.{events_table(cluster)} FINAL").splitlines())


def receive(data: DataDirectory, *ids: str) -> None:
    sealed(data, [line(id_) for id_ in ids])
    fold_all(data)


def test_a_host_that_is_joined_by_others_keeps_its_key(
    tmp_path: Path, shards: clickhouse.Shards, server: Server
) -> None:
    address, database = shards.database(), server.database()
    first, second = (data_directory(tmp_path / name) for name in ("first", "second"))
    receive(first, "both", "first")
    publish(first, store=address)
    receive(first, "later")
    receive(second, "both", "second")
    for data in (first, second):
        publish(data, store=address, database_url=database)
    assert events(shards, address) == ["both", "first", "later", "second"]


@pytest.mark.parametrize("is_shared", [True, False])
def test_another_key_is_refused_until_all_is_published_anew(
    tmp_path: Path, shards: clickhouse.Shards, server: Server, is_shared: bool
) -> None:
    address, data = shards.database(), data_directory(tmp_path / "data")
    receive(data, *(f"event-{n}" for n in range(9)))
    publish(data, store=address, database_url=server.database() if is_shared else "")
    if not is_shared:
        data.event_key.unlink()
    receive(data, "more")
    given = {"store": address, "database_url": server.database() if is_shared else ""}
    with pytest.raises(StoreRefused, match=r"under another key .* `foldlog store rebuild`"):
        publish(data, **given)
    settings = store_settings(data, **given)
    rebuild_store(data, settings, open_store(settings, instance_id(data)))
    assert events(shards, address) == sorted([*(f"event-{n}" for n in range(9)), "more"])


def test_a_copy_is_refused_where_only_one_shard_has_more(tmp_path: Path, shards: clickhouse.Shards) -> None:
    address, data, copied = shards.database(), data_directory(tmp_path / "data"), tmp_path / "copied"
    receive(data, "event-1")
    publish(data, store=address)
    shutil.copytree(data.root, copied)
    shards.servers[1].keep_copy(tmp_path / "yesterday")
    receive(data, "event-2")
    publish(data, store=address)
    shards.servers[1].restore(tmp_path / "yesterday")
    with pytest.raises(StoreRefused, match="restored from a backup, or copied"):
        publish(DataDirectory(copied), store=address)


def test_other_shards_are_refused_until_all_is_published_anew(tmp_path: Path, shards: clickhouse.Shards) -> None:
    address, data = shards.database(), data_directory(tmp_path / "data")
    receive(data, "event-1", "event-2", "event-3")
    publish(data, store=address)
    turned = parse_cluster(address)
    ports = [str(shard) for shard in turned.shards]
    other = address.replace(",".join(ports), ",".join(reversed(ports)))
    with pytest.raises(StoreRefused, match="has not published that"):
        publish(data, store=other)
    settings = store_settings(data, store=other)
    rebuild_store(data, settings, open_store(settings, instance_id(data)))
    assert events(shards, other) == ["event-1", "event-2", "event-3"]


def test_a_retired_instance_does_not_come_back_by_itself(tmp_path: Path, shards: clickhouse.Shards) -> None:
    address, data = shards.database(), data_directory(tmp_path / "data")
    receive(data, "event-1")
    store = publish(data, store=address)
    retire_instance(data, store_settings(data, store=address), store, UUID(instance_id(data)))
    receive(data, "event-2")
    with pytest.raises(StoreRefused, match=r"has retired this instance .* `foldlog store new-instance`"):
        publish(data, store=address)
    assert events(shards, address) == ["event-1"]
