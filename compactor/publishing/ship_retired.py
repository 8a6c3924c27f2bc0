"""Shipping what retired instances have in a PostgreSQL store to a ClickHouse store:
living hosts have their events themselves, and these are nowhere else.

They stay instances of their own, and are retired there, too. A month after the other
is fetched and shipped, and the ledger of the cluster says where that ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from compactor.claims.claims_table import LedgerRow, ledger
from compactor.publishing.changed_events import LeftOut, Progress
from compactor.publishing.changes import SnapshotChanges
from compactor.publishing.fill_rebuilt import publish_by_months
from compactor.takeover.fetch_parts import fetch_parts, held_generation
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.duckdb_engine import connect
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.settings import Settings
from shared.stores.clickhouse.store import ClickHouseStore, HostOfStore
from shared.stores.ledger import Position, StoreUnavailable
from shared.stores.postgres.connection import connected, store_name
from shared.stores.store import Changes

if TYPE_CHECKING:
    import duckdb
    from psycopg import Connection

# Visitors who are to be erased from what an instance has published that erases nothing
# any more.
_ERASED = (
    "SELECT visitor, site FROM analytics_orders WHERE ended_at IS NULL AND NOT %s = ANY (confirmed) ORDER BY request"
)
MEMORY_SHARE = 4


class Shipped(NamedTuple):
    """A retired instance that the cluster has as a whole now."""

    instance: UUID
    host: str
    days: int


class Source(NamedTuple):
    """The PostgreSQL store that has the parts, and where they are put meanwhile."""

    connection: Connection
    name: str
    database: duckdb.DuckDBPyConnection
    room: DataDirectory
    progress: Progress


def ship_retired(
    data: DataDirectory, settings: Settings, store: ClickHouseStore, address: str, progress: Progress
) -> Iterator[Shipped]:
    """Each instance that PostgreSQL has as retired, and the cluster not as a whole. Run
    again after any error, it goes on. Raises StoreUnavailable and StoreRefused.
    """
    memory_bytes = settings.fold_memory // MEMORY_SHARE
    with (
        connected(address) as connection,
        own_spill(data) as spill,
        closing(connect(memory_bytes, 1, spill)) as database,
    ):
        source = Source(connection, store_name(address), database, DataDirectory(spill / "retired"), progress)
        for instance, row in ledger(connection).items():
            if row.is_retired and row.sha256 and not _is_there(store, instance):
                yield _ship(source, store, row)


def _is_there(store: ClickHouseStore, instance: UUID) -> bool:
    rows = [found.get(str(instance)) for found in store.held_by_all()]
    return all(row and row.is_retired for row in rows)


def _ship(source: Source, store: ClickHouseStore, row: LedgerRow) -> Shipped:
    held = held_generation(source.connection, row.instance, source.name)
    if held is None:
        raise StoreUnavailable(source.name, f"has no {row.instance} any more")
    to = store.of_host(HostOfStore(str(row.instance), row.host, row.timezone, store.host.archive_days))
    snapshot = _archive_only(held.snapshot)
    after = Position(str(row.instance), held.generation, held.sha256, snapshot)
    erased = source.connection.execute(_ERASED, (row.instance,)).fetchall()

    def changes(before: Snapshot, part: Snapshot) -> Changes:
        return _fetched(source, row.instance, before, part, [(str(visitor), site) for visitor, site in erased])

    if to.position() is None:  # from here on no month is deleted, and no rebuild ends
        nothing = after._replace(sha256="", snapshot=Snapshot())
        to.publish(None, nothing, encode_snapshot(nothing.snapshot), changes(Snapshot(), Snapshot()))
    publish_by_months(to, after, encode_snapshot(snapshot), changes)
    store.retire(str(row.instance))
    return Shipped(row.instance, row.host, sum(bool(kept.archive) for kept in snapshot.days.values()))


def _fetched(source: Source, instance: UUID, before: Snapshot, after: Snapshot, erased: LeftOut) -> Changes:
    """Between two snapshots, with the parts that only the second one has."""
    shutil.rmtree(source.room.root, ignore_errors=True)
    make_data_directory(source.room)
    days = {day: kept for day, kept in after.days.items() if before.days.get(day) != kept}
    if not fetch_parts(source.connection, source.room, instance, Snapshot(days=days), source.name):
        raise StoreUnavailable(source.name, f"parts of {instance} are missing: restore the database")
    return SnapshotChanges(source.database, source.room, before, after, left_out=erased, progress=source.progress)


def _archive_only(snapshot: Snapshot) -> Snapshot:
    without = {"counters": (), "ids": (), "sessions": (), "yielded": (), "visits": (), "visits_of": None}
    days = {day: replace(kept, **without) for day, kept in snapshot.days.items()}
    return replace(snapshot, days=days, summary=None)
