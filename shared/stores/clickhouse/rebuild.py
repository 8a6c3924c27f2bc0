"""A rebuild: all hosts fill a second table, which then takes the place of the first.
Answers come from the first one until then, and at no moment from half of each.

The tables themselves say how far it is. They are made on the first shard first, and
replaced on the first shard first: so a shard without them before one that has them was
replaced already, and one after it is still to get them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import Cluster
from shared.stores.clickhouse.columns import event_columns
from shared.stores.clickhouse.forget_months import MONTHS
from shared.stores.clickhouse.ledger_rows import HeldRow, held_rows, write_held
from shared.stores.clickhouse.table_names import CURRENT, REBUILT, REPLACED
from shared.stores.clickhouse.tables import make_tables
from shared.stores.ledger import StoreRefused

_TABLES = "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'analytics%'"
_REPLICATED = (
    "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'analytics%' "
    "AND engine LIKE 'Replicated%'"
)


class Rebuild(NamedTuple):
    """Of a cluster."""

    cluster: Cluster
    servers: Sequence[ClickHouse]

    def order(self) -> None:
        """From now on each host fills the second table when it publishes. Raises
        StoreRefused for tables of replicas, which one server cannot rename.
        """
        for server in self.servers:
            if server.rows(_REPLICATED)[0][0]:
                raise StoreRefused(
                    str(server), "has tables with replicas, which Foldlog does not rebuild: see docs/scale-out.md"
                )
        make_tables(self.cluster, self.servers, REBUILT)

    def is_filling(self) -> bool:
        """Whether all shards have the second table, once one is ordered."""
        has = [self._is_begun(server) for server in self.servers]
        if has[0] and not all(has):
            self.order()
        return has[0]

    def waits_for(self) -> list[str]:
        """The hosts that have not filled theirs."""
        missing = {}
        for server in self.servers:
            rebuilt = held_rows(server, REBUILT)
            for instance, row in held_rows(server).items():
                if not row.is_retired and not _is_whole(rebuilt.get(instance)):
                    missing[instance] = row.host
        return sorted(missing.values())

    def copy_retired(self) -> None:
        """What retired instances have published is in the cluster alone."""
        for server in self.servers:
            rebuilt = held_rows(server, REBUILT)
            for instance, row in held_rows(server).items():
                if row.is_retired and not (instance in rebuilt and rebuilt[instance].is_retired):
                    _copy(server, instance)
                    version = max(row.version, rebuilt[instance].version if instance in rebuilt else 0) + 1
                    write_held(server, row._replace(version=version), REBUILT)

    def is_ending(self) -> bool:
        """Whether the tables of a shard are to be replaced: of all that are left, once
        the first one is.
        """
        tables = [self._tables(server) for server in self.servers]
        is_replaced = REBUILT.events not in tables[0] and any(REBUILT.events in found for found in tables)
        return is_replaced or any(REPLACED in found or _is_half(found) for found in tables)

    def end(self) -> None:
        """Replace the tables; to be called while no host publishes. Cut off anywhere,
        it is called again.
        """
        self.complete()
        for server in self.servers:
            if {REBUILT.events, REBUILT.folded} <= self._tables(server):
                _agree(server)
                server.run(f"RENAME TABLE {CURRENT.events} TO {REPLACED}, {REBUILT.events} TO {CURRENT.events}")
            for name in (REBUILT.folded, REPLACED):
                server.run(f"DROP TABLE IF EXISTS {name}")

    def complete(self) -> None:
        """What a server that died between two names has left."""
        for server in self.servers:
            tables = self._tables(server)
            if CURRENT.events not in tables and {REPLACED, REBUILT.events} <= tables:
                server.run(f"RENAME TABLE {REBUILT.events} TO {CURRENT.events}")

    def _is_begun(self, server: ClickHouse) -> bool:
        return {REBUILT.events, REBUILT.folded} <= self._tables(server)

    @staticmethod
    def _tables(server: ClickHouse) -> set[str]:
        return {name for (name,) in server.rows(_TABLES)}


def _is_whole(row: HeldRow | None) -> bool:
    return row is not None and bool(row.sha256)


def _is_half(tables: set[str]) -> bool:
    """Replaced, and what was read of it is still there."""
    return REBUILT.folded in tables and REBUILT.events not in tables


def _copy(server: ClickHouse, instance: str) -> None:
    """A month at a time: a statement must end."""
    columns = ", ".join(event_columns(escaped=False))
    for (month,) in server.rows(MONTHS.format(table=CURRENT.events)):
        server.run(
            f"INSERT INTO {REBUILT.events} ({columns}) SELECT {columns} FROM {CURRENT.events} "
            f"WHERE instance = '{instance}' AND toYYYYMM(day) = {int(month)}"
        )


def _agree(server: ClickHouse) -> None:
    """The ledger says what the second table has: where that is less, the next publish
    sends it.
    """
    before = held_rows(server)
    for instance, row in held_rows(server, REBUILT).items():
        known = before.get(instance)
        if known is None or (known.sha256, known.content) != (row.sha256, row.content):
            version = max(row.version, known.version if known else 0) + 1
            write_held(server, row._replace(version=version))
