"""ClickHouse as a store: the deduplicated events themselves, each on the shard that its
hash says.

There is no transaction. A publish inserts, and then writes the ledger; whatever breaks
off is repeated, and an event that is inserted twice is one (P7). So the ledger is a
bound from below: what it says is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import Cluster
from shared.stores.clickhouse.erase_retired import erase_from_retired
from shared.stores.clickhouse.forget_months import forget_expired
from shared.stores.clickhouse.held_position import least_position, position_of, with_days
from shared.stores.clickhouse.ledger_rows import HeldRow, held_rows, write_held
from shared.stores.clickhouse.mutations import MUTATION_PATIENCE_S
from shared.stores.clickhouse.own_events import OwnEvents
from shared.stores.clickhouse.rebuild import Rebuild
from shared.stores.clickhouse.table_names import CURRENT, REBUILT, TableNames
from shared.stores.clickhouse.tables import events_table, make_tables, table_statements
from shared.stores.counter_rows import CounterRow
from shared.stores.event_batches import Shipping
from shared.stores.ledger import HeldInstance, Position, StoreRefused, StoreUnavailable
from shared.stores.store import Changes, StoredPart
from shared.stores.visitor_rows import VisitorDigest

# Between two inserts of a long publish: what was sent by then is not sent again.
NOTE_EVERY_S = 10.0


class HostOfStore(NamedTuple):
    """Who publishes. `name` and `timezone` are shown with what it has. For
    `archive_days` retired instances keep what they have.
    """

    instance: str
    name: str
    timezone: str
    archive_days: int = 760


class ClickHouseStore:
    """The events of one instance. `key` tells the key of the hashes by which copies
    meet; `hosts_database` is the PostgreSQL that other hosts have it from, empty for
    none.
    """

    def __init__(
        self,
        cluster: Cluster,
        host: HostOfStore,
        *,
        key: Callable[[], str],
        hosts_database: str,
        patience_s: float = MUTATION_PATIENCE_S,
        names: TableNames = CURRENT,
        note_every_s: float = NOTE_EVERY_S,
    ) -> None:
        self._cluster, self._instance = cluster, host.instance
        self._key, self._patience_s = key, patience_s
        self._names, self._note_every_s = names, note_every_s
        self._has_more = False
        self.host, self.hosts_database = host, hosts_database

    def __str__(self) -> str:
        return str(self._cluster)

    @cached_property
    def _servers(self) -> list[ClickHouse]:
        return [ClickHouse(self._cluster, endpoint) for endpoint in self._cluster.shards]

    @cached_property
    def _events(self) -> OwnEvents:
        return OwnEvents(self._servers, self._names.events, self._instance, self._patience_s)

    def position(self) -> Position | None:
        """See Store; so for the other methods. What all shards hold."""
        return least_position(self._held())

    def positions(self) -> list[Position]:
        """What each shard holds that has something of this instance, without snapshots.
        Raises StoreRefused where it was retired.
        """
        rows = [row for row in self._held(snapshot_of="") if row]
        if any(row.is_retired for row in rows):
            raise StoreRefused(
                str(self),
                f"has retired this instance ({self._instance}): type `foldlog store new-instance` to begin as another "
                "one",
            )
        return [position_of(row) for row in rows]

    def expect_more(self) -> None:
        """A publish was cut off, or a shard was restored: shards may have rows that the
        ledger does not say. The next publish asks which.
        """
        self._has_more = True

    def held_by_all(self) -> list[dict[str, HeldRow]]:
        """The ledger of each shard, by instance."""
        return [held_rows(server, self._names) for server in self._servers]

    def _held(self, snapshot_of: str | None = None) -> list[HeldRow | None]:
        """With the snapshot of this instance, or of `snapshot_of`. Raises StoreRefused
        where copies of other hosts could not be told.
        """
        of = self._instance if snapshot_of is None else snapshot_of
        found = [held_rows(server, self._names, snapshot_of=of) for server in self._servers]
        others = {each.host for rows in found for each in rows.values() if each.instance != self._instance}
        if others and not self.hosts_database:
            raise StoreRefused(
                str(self),
                f"has events of other hosts ({', '.join(sorted(others))}), with whom this one shares no keys: set "
                "DATABASE_URL to the PostgreSQL that all of them use",
            )
        return [rows.get(self._instance) for rows in found]

    def publish(self, base: Position | None, after: Position, content: bytes, changes: Changes) -> None:
        held = self._held(snapshot_of="")
        found = least_position(held)
        if (found and found.identity) != (base and base.identity):
            raise StoreUnavailable(str(self), "another process published meanwhile")
        self.make_tables()
        version = max((row.version for row in held if row), default=0)
        if not any(held):  # before its first rows: reports look for copies where there are several hosts
            version += 1
            self._note(version, Position(self._instance, 0, "", Snapshot()), b"", "")
        snapshot, noted_at = base.snapshot if base else Snapshot(), time.monotonic()
        for batch in changes.events(self._doubting(snapshot)):
            self._events.send(batch, after.generation)
            snapshot = with_days(snapshot, after.snapshot, batch.days)
            if time.monotonic() - noted_at > self._note_every_s:
                version, noted_at = version + 1, time.monotonic()
                self._note(version, after, encode_snapshot(snapshot), "")
        self._note(version + 1, after, content, after.sha256)
        self._has_more = False

    def shipping(self) -> Shipping:
        """See EventStore; so for the next method."""
        return Shipping(
            self._instance,
            self._key(),
            len(self._servers),
            self._events.write_hashes,
            is_parquet=self._events.takes_parquet,
        )

    def _doubting(self, held: Snapshot) -> Shipping:
        doubtful = self._events.doubtful_days(held) if self._has_more else set()
        return self.shipping()._replace(doubtful=doubtful)

    def write_held_events(self, utc_day: date, to: Path) -> None:
        self._events.write_counted(events_table(self._cluster), utc_day, to)

    def _note(self, version: int, after: Position, content: bytes, sha256: str) -> None:
        row = HeldRow(
            self._instance,
            version,
            self.host.name,
            self.host.timezone,
            after.generation,
            sha256,
            after.snapshot.as_of,
            content.decode(),
            is_retired=False,
            published_at=datetime.now(UTC),
        )
        for server in self._servers:
            write_held(server, row, self._names)

    def confirm(self, held: Position) -> None:
        rows = self._held()
        if all(row and row.sha256 == held.sha256 for row in rows):
            version = max(row.version for row in rows if row) + 1
            for server, row in zip(self._servers, rows, strict=True):
                if row:
                    write_held(server, row._replace(version=version, published_at=datetime.now(UTC)))

    def empty(self) -> None:
        """The ledger first: rows that it does not say are found by the next publish."""
        held = self._held()
        if not any(held):
            return
        version = max(row.version for row in held if row) + 1
        self._note(version, Position(self._instance, 0, "", Snapshot()), b"", "")
        self._events.delete("1")

    def disown(self) -> None:
        """Leave what is there, as of a generation that no directory has."""
        for server, row in zip(self._servers, self._held(), strict=True):
            if row:
                write_held(server, row._replace(version=row.version + 1, generation=0, sha256=""), self._names)

    def has_all(self) -> bool:
        """Whether a generation of this instance is there as a whole."""
        held = self.position()
        return held is not None and bool(held.sha256)

    def retire(self, instance: str) -> None:
        """Give an instance up: what it has published counts on. Raises StoreRefused."""
        found = self.held_by_all()
        if not any(instance in rows for rows in found):
            raise StoreRefused(str(self), f"has no instance {instance}: `foldlog store status` lists them")
        for server, rows in zip(self._servers, found, strict=True):
            if row := rows.get(instance):
                write_held(server, row._replace(version=row.version + 1, is_retired=True))

    def erase_from_retired(self, visitor: str, site: str | None) -> None:
        """Delete a visitor from what retired instances have: see `erase_retired`."""
        erase_from_retired(self._servers, visitor, site, self._patience_s)

    def forget_expired(self, *, dry_run: bool = False) -> list[str]:
        """Delete the months that have expired on every host: see `expired_months`."""
        return forget_expired(self._servers, self.host.archive_days, dry_run=dry_run)

    def instances(self) -> list[HeldInstance]:
        """All instances, also those that are retired: what the first shard says."""
        rows = held_rows(self._servers[0]).values()
        return [
            HeldInstance(
                each.instance,
                each.host,
                each.generation,
                datetime.fromisoformat(each.as_of) if each.as_of else None,
                each.published_at if each.is_retired else None,
            )
            for each in rows
        ]

    @property
    def rebuild(self) -> Rebuild:
        return Rebuild(self._cluster, self._servers)

    def of_host(self, host: HostOfStore) -> ClickHouseStore:
        """The same store as another host publishes to it, and may have been cut off."""
        found = ClickHouseStore(self._cluster, host, key=self._key, hosts_database=self.hosts_database)
        found.expect_more()
        return found

    def rebuilt(self) -> ClickHouseStore:
        """The tables that a rebuild fills, and may have been cut off."""
        found = ClickHouseStore(
            self._cluster, self.host, key=self._key, hosts_database=self.hosts_database, names=REBUILT
        )
        found.expect_more()
        return found

    def make_tables(self) -> None:
        """On each shard, where they are missing."""
        if self._names == CURRENT:
            self.rebuild.complete()
        make_tables(self._cluster, self._servers, self._names)

    def table_statements(self) -> list[str]:
        """What makes the tables of a shard."""
        return table_statements(self._cluster, self._servers[0].version)

    def days(self) -> set[date]:
        """None: it has events, and no counters."""
        return set()

    def rows(self, utc_day: date) -> set[CounterRow]:
        return set()

    def parts(self) -> set[StoredPart] | None:
        return None

    def visitor_key(self) -> bytes | None:
        return None

    def visitors(self, utc_day: date) -> set[VisitorDigest]:
        return set()
