"""PostgreSQL as a store of several hosts, each of which has rows of its own.

A publish is one transaction: the rows, the parts and the ledger row of this instance.
What it writes is computed and sent before, into temporary tables of the session, so
that no lock waits for DuckDB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.generations.snapshot import Snapshot, decode_snapshot
from shared.stores.counter_rows import CounterRow
from shared.stores.ledger import HeldInstance, Position, StoreUnavailable
from shared.stores.postgres.absorb import take_in
from shared.stores.postgres.connection import connected, store_name
from shared.stores.postgres.counters import days_with_rows, rows_of_day, send_counters, write_counters
from shared.stores.postgres.log_rows import delete_folded
from shared.stores.postgres.migrate import Migration, migrate, migrated, pending_migrations
from shared.stores.postgres.parts import found_parts, write_parts
from shared.stores.postgres.visitors import digests_of_day, known_key, send_visitors, shared_key, write_visitors
from shared.stores.store import Changes, StoredPart
from shared.stores.visitor_rows import VisitorDigest

if TYPE_CHECKING:
    from psycopg import Connection

_POSITION = """
    SELECT generation, coalesce(snapshot_sha256, ''), snapshot, epoch, epoch_name, claims
    FROM analytics_folded WHERE instance = %s
"""
_BEGIN_INSTANCE = """
    INSERT INTO analytics_folded (instance, host, timezone, epoch, epoch_name, claims)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_HOLDS = """
    UPDATE analytics_folded SET
        host = %(host)s, timezone = %(timezone)s, generation = %(generation)s, snapshot_sha256 = %(sha256)s,
        as_of = %(as_of)s, snapshot = %(content)b, published_at = now(),
        published_seq = (SELECT coalesce(max(seq), 0) FROM analytics_ids WHERE instance = %(instance)s)
    WHERE instance = %(instance)s
"""
# The claims of the instance stay its own.
_HOLDS_NOTHING = """
    UPDATE analytics_folded SET generation = 0, snapshot_sha256 = NULL, as_of = NULL, snapshot = NULL
    WHERE instance = %s
"""
_CONFIRMED = "UPDATE analytics_folded SET published_at = now() WHERE instance = %s AND snapshot_sha256 = %s"
_TABLES = ("analytics_counters", "analytics_parts", "analytics_visitors")


class PostgresStore(NamedTuple):
    """The rows of one instance. `host_name` and `timezone` are shown with them."""

    address: str
    instance: str
    host_name: str
    timezone: str

    def __str__(self) -> str:
        return store_name(self.address)

    def position(self) -> Position | None:
        """See Store; so for the other methods."""
        with self._connected() as connection:
            return self._position(connection) if connection else None

    def publish(self, base: Position | None, after: Position, content: bytes, changes: Changes) -> None:
        with migrated(self.address) as connection:
            whole = send_counters(connection, changes.counters())
            whole_visitors = send_visitors(connection, changes.visitors(shared_key(connection)))
            with connection.transaction():
                if absorbed := after.snapshot.absorbed_instances:
                    take_in(connection, str(self), self.instance, absorbed)
                self._require(connection, base, after)
                write_counters(connection, self.instance, whole)
                write_visitors(connection, self.instance, after.generation, whole_visitors)
                write_parts(connection, self.instance, changes)
                values = {
                    "instance": self.instance,
                    "host": self.host_name,
                    "timezone": self.timezone,
                    "generation": after.generation,
                    "sha256": after.sha256,
                    "as_of": after.snapshot.as_of,
                    "content": content,
                }
                connection.execute(_HOLDS, values)
                delete_folded(connection, self.instance, after.snapshot)
            if whole:
                connection.execute("SELECT analytics_drop_empty_months()")

    def confirm(self, held: Position) -> None:
        with self._connected() as connection:
            if connection:
                connection.execute(_CONFIRMED, (self.instance, held.sha256))

    def empty(self) -> None:
        with migrated(self.address) as connection:
            with connection.transaction():
                self.take_back(connection)
            connection.execute("SELECT analytics_drop_empty_months()")

    def take_back(self, connection: Connection) -> None:
        """Delete all that is published of this instance, within a transaction. Its
        ledger row stays: it says what the instance has claimed.
        """
        for table in _TABLES:
            connection.execute(f"DELETE FROM {table} WHERE instance = %s".encode(), (self.instance,))
        connection.execute(_HOLDS_NOTHING, (self.instance,))

    def days(self) -> set[date]:
        with self._connected() as connection:
            return days_with_rows(connection, self.instance) if connection else set()

    def rows(self, utc_day: date) -> set[CounterRow]:
        with self._connected() as connection:
            return rows_of_day(connection, self.instance, utc_day) if connection else set()

    def parts(self) -> set[StoredPart]:
        with self._connected() as connection:
            return found_parts(connection, self.instance) if connection else set()

    def visitor_key(self) -> bytes | None:
        with self._connected() as connection:
            return known_key(connection) if connection else None

    def visitors(self, utc_day: date) -> set[VisitorDigest]:
        with self._connected() as connection:
            return digests_of_day(connection, self.instance, utc_day) if connection else set()

    def _require(self, connection: Connection, base: Position | None, after: Position) -> None:
        """Lock the ledger row, which must say what the caller has seen."""
        if base is None:
            values = (self.instance, self.host_name, self.timezone, after.epoch, after.epoch_name, after.claims)
            is_base = connection.execute(_BEGIN_INSTANCE, values).rowcount == 1
        else:
            found = self._position(connection, locked=True)
            is_base = found is not None and found.identity == base.identity
        if not is_base:
            raise StoreUnavailable(str(self), "another process published meanwhile")

    def _position(self, connection: Connection, *, locked: bool = False) -> Position | None:
        row = connection.execute(_POSITION + ("FOR NO KEY UPDATE" if locked else ""), (self.instance,)).fetchone()
        if row is None:
            return None
        generation, sha256, content, epoch, epoch_name, claims = row
        snapshot = decode_snapshot(bytes(content), Path(str(self))) if content else Snapshot()
        return Position(self.instance, generation, sha256, snapshot, epoch, epoch_name, claims)

    def instances(self) -> list[HeldInstance]:
        """All instances, also those that are retired."""
        sql = "SELECT instance::text, host, generation, as_of, retired_at FROM analytics_folded ORDER BY host, instance"
        with self._connected() as connection:
            return [HeldInstance(*row) for row in connection.execute(sql).fetchall()] if connection else []

    def migrate(self) -> list[Migration]:
        """Make the tables, or what they lack. Returns what was applied."""
        with connected(self.address) as connection:
            return migrate(connection, self.address)

    def pending(self) -> list[Migration]:
        """What `migrate` would apply."""
        with connected(self.address) as connection:
            return pending_migrations(connection, self.address)

    @contextmanager
    def _connected(self) -> Iterator[Connection | None]:
        """None for a database that no Foldlog has migrated."""
        with connected(self.address) as connection:
            pending = pending_migrations(connection, self.address)
            yield None if pending and pending[0].version == 1 else connection
