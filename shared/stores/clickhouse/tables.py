"""Making the tables of a ClickHouse store, on each shard."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import Cluster
from shared.stores.clickhouse.table_names import CURRENT, EVENTS_OF_ALL_SHARDS, TableNames
from shared.stores.ledger import StoreRefused

# Older servers do not know all types, and reports do not ask them.
FIRST_VERSION = (24, 8)
_ENGINE = "ReplacingMergeTree"
_ALL_SHARDS = (
    "CREATE TABLE IF NOT EXISTS analytics_events_all AS analytics_events\n"
    "ENGINE = Distributed({cluster}, {database}, analytics_events, h)"
)
_SHARDS = "SELECT count() FROM (SELECT DISTINCT shard_num FROM system.clusters WHERE cluster = '{cluster}')"


def events_table(cluster: Cluster) -> str:
    """The table that has the events of all shards."""
    return EVENTS_OF_ALL_SHARDS if len(cluster.shards) > 1 else CURRENT.events


def table_statements(cluster: Cluster, version: tuple[int, ...], names: TableNames = CURRENT) -> list[str]:
    """What makes the tables of a shard."""
    name = "tables.sql" if version >= FIRST_VERSION else "tables_before_24.sql"
    text = resources.files(__package__).joinpath(name).read_text("utf-8").replace("{engine}", _ENGINE)
    for made, name in zip(CURRENT, names, strict=True):
        text = text.replace(f"EXISTS {made} (", f"EXISTS {name} (")
    statements = [each.strip() for each in text.split(";\n\n")]
    if len(cluster.shards) > 1 and names == CURRENT:
        statements.append(_ALL_SHARDS.format(cluster=cluster.name, database=cluster.database))
    return statements


def make_tables(cluster: Cluster, servers: Sequence[ClickHouse], names: TableNames = CURRENT) -> None:
    """Raises StoreRefused where a server knows other shards than the address."""
    for server in servers:
        _check_shards(cluster, server)
        for statement in table_statements(cluster, server.version, names):
            server.run(statement)


def known_shards(cluster: Cluster, server: ClickHouse) -> int:
    """How many shards a server knows of the cluster."""
    ((known,),) = server.rows(_SHARDS.format(cluster=cluster.name))
    return int(known)


def _check_shards(cluster: Cluster, server: ClickHouse) -> None:
    if len(cluster.shards) == 1:
        return
    known = known_shards(cluster, server)
    if known != len(cluster.shards):
        raise StoreRefused(
            str(server),
            f"knows {known} shards of the cluster {cluster.name}, and FOLDLOG_STORE names {len(cluster.shards)}: "
            "both must name the same ones, in the same order",
        )
