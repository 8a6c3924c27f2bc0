"""A month leaves a ClickHouse store once it has expired on every host, and not before:
with an old server in two shards and with today's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from compactor.claims.writers import begin_writing, end_writing
from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest, retire_instance
from shared.disk.layout import DataDirectory
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.clickhouse.tables import events_table
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from shared.timestamps import epoch_ms
from tests.builders.clickhouse_kinds import KINDS, ClickHouses, running
from tests.builders.history import history
from tests.builders.logs import fold, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, store_settings

pytestmark = pytest.mark.component
# Six days of history end ten days before: from 29 October to 3 November.
NOW = epoch_ms("2026-11-13T12:00:00Z")


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> Iterator[ClickHouses]:
    with running(request.param) as found:
        yield found


class Cluster:
    """A store, and what stands in it by month."""

    def __init__(self, servers: ClickHouses, database: str) -> None:
        self._servers, self.database, self.store = servers, database, servers.database()

    def publish(self, data: DataDirectory) -> None:
        publish(data, store=self.store, database_url=self.database)

    def months(self) -> dict[str, int]:
        cluster = parse_cluster(self.store)
        sql = f"SELECT toYYYYMM(day) AS m, count() FROM {cluster.database}.{events_table(cluster)} FINAL GROUP BY m"
        return {month: int(rows) for month, rows in (row.split() for row in self._servers.ask(sql).splitlines())}


@pytest.fixture
def cluster(servers: ClickHouses, server: Server) -> Cluster:
    return Cluster(servers, server.database())


def host(root: Path, name: str) -> DataDirectory:
    data = history(root, 6, NOW, name)
    sealed(data, [line(f"{name}-new", NOW)])
    return data


def expire(data: DataDirectory) -> None:
    fold(data, NOW, archive_retention_days=7)


@pytest.mark.long
def test_a_month_goes_when_it_has_expired_on_every_host(tmp_path: Path, cluster: Cluster) -> None:
    hosts = [host(tmp_path / name, name) for name in "ab"]
    for data in hosts:
        cluster.publish(data)
    expire(hosts[0])
    cluster.publish(hosts[0])
    assert cluster.months() == {"202610": 18, "202611": 19}  # one host's clock deletes no other's rows
    expire(hosts[1])
    cluster.publish(hosts[1])
    # Days of November have expired, and their month is not over.
    assert cluster.months() == {"202611": 20}


@pytest.mark.long
def test_no_month_goes_while_another_host_inserts(tmp_path: Path, cluster: Cluster) -> None:
    hosts = [host(tmp_path / name, name) for name in "ab"]
    for data in hosts:
        cluster.publish(data)
    for data in hosts:
        expire(data)
    cluster.publish(hosts[0])
    first = UUID(instance_id(hosts[0]))
    with connected(cluster.database) as connection:
        begin_writing(connection, first)
        cluster.publish(hosts[1])
        assert cluster.months()["202610"] == 18
        end_writing(connection, first)
    cluster.publish(hosts[1])
    assert "202610" not in cluster.months()


@pytest.mark.long
def test_what_is_retired_stays_for_as_long_as_an_archive(tmp_path: Path, cluster: Cluster) -> None:
    gone, living = (host(tmp_path / name, name) for name in "ab")
    for data in (gone, living):
        cluster.publish(data)
    settings = store_settings(living, store=cluster.store, database_url=cluster.database)
    retire_instance(living, settings, opened(living, cluster), UUID(instance_id(gone)))
    expire(living)
    cluster.publish(living)
    assert cluster.months()["202610"] == 18  # 760 days are not over
    store = opened(living, cluster, archive_days=7)
    publish_newest(living, settings, store)
    assert "202610" not in cluster.months()
    (row,) = [row for row in store.held_by_all()[0].values() if row.is_retired]
    assert {f"{day:%Y%m}" for day, kept in row.snapshot.days.items() if kept.expired} == {"202610"}


def opened(data: DataDirectory, cluster: Cluster, archive_days: int = 760) -> ClickHouseStore:
    made = store_settings(data, store=cluster.store, database_url=cluster.database, archive_retention_days=archive_days)
    store = open_store(made, instance_id(data))
    assert isinstance(store, ClickHouseStore)
    return store
