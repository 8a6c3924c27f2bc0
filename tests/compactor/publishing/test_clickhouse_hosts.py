"""P7 over the hosts of a ClickHouse store: an id that two hosts have counts once, of
the copies the one that was received first.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.tables import events_table
from shared.timestamps import epoch_ms
from tests.builders.clickhouse_kinds import KINDS, ClickHouses
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, wrong

pytestmark = pytest.mark.component
HOUR_MS = 3_600_000


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> ClickHouses:
    found: ClickHouses = request.getfixturevalue(f"clickhouse_{request.param}")
    return found


def counted(servers: ClickHouses, address: str) -> list[str]:
    cluster = parse_cluster(address)
    what = "time_ms, site, event, ifNull(visitor, 'None')"
    return sorted(servers.ask(f"SELECT {what} FROM {cluster.database}.{events_table(cluster)} FINAL").splitlines())


def test_an_id_on_two_hosts_counts_once(tmp_path: Path, servers: ClickHouses, server: Server) -> None:
    pick, address, database = random.Random(7), servers.database(), server.database()
    hosts = {name: data_directory(tmp_path / name) for name in "ab"}
    copies = {name: [_copy(pick, name, n) for n in range(60)] for name in hosts}
    for turn in range(5):
        for name, data in hosts.items():
            sealed(data, pick.sample(copies[name], 20) if turn < 4 else copies[name])
            fold_all(data, NOON + turn * HOUR_MS)
        for data in pick.sample(list(hosts.values()), 2):
            store = publish(data, store=address, database_url=database)
    first = [min(same, key=lambda each: each.received) for same in zip(*copies.values(), strict=True)]
    expected = [f"{epoch_ms(each.time)}\t{each.site}\t{each.name}\t{each.visitor}" for each in first]
    assert counted(servers, address) == sorted(expected)
    assert wrong(data, store) == []


def test_a_page_does_not_replace_what_a_key_has_sent(tmp_path: Path, servers: ClickHouses, server: Server) -> None:
    address, database = servers.database(), server.database()
    for sender in ("key", "page"):
        data = data_directory(tmp_path / sender)
        sealed(data, [line("order-1", sender=sender, visitor=sender)])
        fold_all(data)
        publish(data, store=address, database_url=database)
    assert [row.split("\t")[-1] for row in counted(servers, address)] == ["key", "page"]


def test_an_erasure_of_one_host_is_carried_out_by_all(tmp_path: Path, servers: ClickHouses, server: Server) -> None:
    address, database = servers.database(), server.database()
    hosts = [data_directory(tmp_path / name) for name in "ab"]
    for n, data in enumerate(hosts):
        sealed(data, [line(f"{n}-kept"), line(f"{n}-gone", visitor="gone")])
        fold_all(data)
        publish(data, store=address, database_url=database)
    create_request(hosts[0], "gone", None)
    for _ in range(3):
        for data in hosts:
            _erase(data, database)
            publish(data, store=address, database_url=database)
    assert [row.split("\t")[-1] for row in counted(servers, address)] == ["visitor-1", "visitor-1"]


def _copy(pick: random.Random, host: str, number: int) -> Line:
    """Of an event that both hosts receive: which one first is chance, and their clocks
    may be a day apart.
    """
    at_ms = NOON - number * HOUR_MS - pick.choice([0, 0, 24 * HOUR_MS])
    return line(f"event-{number}", at_ms, NOON - pick.randrange(HOUR_MS), visitor=host)


def _erase(data: DataDirectory, database: str) -> None:
    erase(data, NOON + 2 * HOUR_MS, database_url=database)
