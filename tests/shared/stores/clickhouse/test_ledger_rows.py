"""The ledger of a shard: snapshots are read of the instances that are asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.ledger_rows import HeldRow, held_rows, write_held
from shared.stores.clickhouse.tables import make_tables
from tests.builders.clickhouse_kinds import KINDS, ClickHouses

pytestmark = pytest.mark.component
OWN, OTHER = (str(UUID(int=number)) for number in (1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_snapshots_are_read_of_whom_is_asked_for(request: pytest.FixtureRequest, kind: str) -> None:
    servers: ClickHouses = request.getfixturevalue(f"clickhouse_{kind}")
    cluster = parse_cluster(servers.database())
    shards = [ClickHouse(cluster, each) for each in cluster.shards]
    assert held_rows(shards[0]) == {}
    make_tables(cluster, shards)
    at = datetime(2026, 11, 22, tzinfo=UTC)
    rows = {
        each: HeldRow(each, 1, f"host-{each[-1]}", "UTC", 7, "sha", "", f"snapshot of {each}", False, at)
        for each in (OWN, OTHER)
    }
    for row in rows.values():
        write_held(shards[0], row)
    without = {each: row._replace(content="") for each, row in rows.items()}
    assert held_rows(shards[0]) == rows
    assert held_rows(shards[0], snapshot_of="") == without
    assert held_rows(shards[0], snapshot_of=OWN) == without | {OWN: rows[OWN]}
