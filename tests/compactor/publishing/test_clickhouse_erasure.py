"""Erasures in a ClickHouse store: one whose mutation does not end is said, nothing is
confirmed, and the next publish carries on; what a retired instance has is reached.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest, rebuild_store, retire_instance
from shared.disk.layout import DataDirectory
from shared.erasures import create_request, known_orders
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.event_key import event_key
from shared.stores.clickhouse.store import ClickHouseStore, HostOfStore
from shared.stores.clickhouse.tables import events_table
from shared.stores.ledger import StoreUnavailable
from shared.stores.postgres.connection import connected
from tests.builders.clickhouse_kinds import KINDS, ClickHouses
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, store_settings, wrong

pytestmark = [pytest.mark.component, pytest.mark.long]


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> ClickHouses:
    found: ClickHouses = request.getfixturevalue(f"clickhouse_{request.param}")
    return found


def impatient(data: DataDirectory, address: str, database: str) -> ClickHouseStore:
    host = HostOfStore(instance_id(data), "host", "UTC")
    return ClickHouseStore(
        parse_cluster(address), host, key=lambda: event_key(data, database), hosts_database=database, patience_s=1
    )


def test_a_mutation_that_does_not_end_confirms_nothing_and_is_tried_again(
    tmp_path: Path, servers: ClickHouses, server: Server
) -> None:
    data, address, database = data_directory(tmp_path / "data"), servers.database(), server.database()
    sealed(data, [line("kept"), *(line(f"gone-{n}", visitor="gone") for n in range(9))])
    fold_all(data)
    publish(data, store=address, database_url=database)
    create_request(data, "gone", None)
    erase(data, NOON, database_url=database)
    name = parse_cluster(address).database
    servers.ask(f"SYSTEM STOP MERGES {name}.analytics_events")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"being deleted after 1 s: system.mutations says why"):
            publish_newest(data, store_settings(data), impatient(data, address, database))
    assert servers.ask(f"SELECT count() FROM system.mutations WHERE database = '{name}' AND NOT is_done") == "1\n"
    assert len(list(known_orders(data))) == 1
    servers.ask(f"SYSTEM START MERGES {name}.analytics_events")
    store = publish(data, store=address, database_url=database)
    cluster = parse_cluster(address)
    assert servers.ask(f"SELECT id FROM {cluster.database}.{events_table(cluster)} FINAL") == "kept\n"
    assert list(known_orders(data)) == []
    assert wrong(data, store) == []


# The text of a visitor ends no literal of the mutation.
GONE = "o'gone\\' OR 1 = 1 -- 日"


def test_an_erasure_reaches_what_a_retired_instance_has(tmp_path: Path, servers: ClickHouses, server: Server) -> None:
    address, database = servers.database(), server.database()
    retired, living = (data_directory(tmp_path / name) for name in ("retired", "living"))
    for data in (retired, living):
        events = [
            line(f"{data.root.name}-{n}", visitor=visitor, site=site)
            for n, (visitor, site) in enumerate([("stays", "a.example"), (GONE, "a.example"), (GONE, "b.example")])
        ]
        sealed(data, events)
        fold_all(data)
        publish(data, store=address, database_url=database)
    settings = store_settings(living, store=address, database_url=database)
    store = impatient(living, address, database)
    retire_instance(living, settings, store, UUID(instance_id(retired)))
    order = create_request(living, GONE, "a.example")
    erase(living, NOON, database_url=database)
    rebuild_store(living, settings, store)
    publish(living, store=address, database_url=database)
    cluster = parse_cluster(address)
    left = servers.ask(f"SELECT id FROM {cluster.database}.{events_table(cluster)} FINAL")
    assert sorted(left.split()) == ["living-0", "living-2", "retired-0", "retired-2"]
    with connected(database) as connection:
        sql = "SELECT visitor, ended_at IS NOT NULL FROM analytics_orders WHERE request = %s"
        assert connection.execute(sql, (order.request,)).fetchall() == [(None, True)]
    assert wrong(living, store) == []
