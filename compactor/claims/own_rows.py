"""What a publish does where each host has rows of its own, and the store itself finds
copies: it claims nothing, and notes what it published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from compactor.claims.claims_table import ledger, register, retire
from compactor.claims.note import StoreNote, read_note, write_note
from compactor.claims.settle_cluster import settle_cluster
from compactor.claims.writers import begin_writing, end_writing
from compactor.erasure.orders import share_orders
from compactor.erasure.orders_table import confirm_order, end_orders, open_orders
from compactor.erasure.retired import confirm_for_retired
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.generations.snapshot import Snapshot
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.ledger import Position, StoreRefused, StoreUnavailable
from shared.stores.postgres.migrate import migrated

if TYPE_CHECKING:
    from psycopg import Connection


KEY_DIGITS = 16


class OwnRows(NamedTuple):
    """See Claims."""

    data: DataDirectory
    store: ClickHouseStore

    def claim(self, newest: Snapshot) -> None:
        """Nothing is claimed. Raises StoreRefused for a store of which a shard has more
        of this instance than this directory noted.
        """
        note = read_note(self.data, str(self.store))
        for held in self.store.positions():
            if not _is_noted(held, note):
                raise StoreRefused(
                    str(self.store),
                    f"holds generation {held.generation} of this instance ({held.instance}), and this directory has "
                    "not published that: it was restored from a backup, or copied. Type `foldlog store new-instance` "
                    "if another host continues that instance, else `foldlog store rebuild`",
                )
        if note.event_key not in ("", self._event_key()):
            raise StoreRefused(
                str(self.store),
                "has events of this host under another key than the one that is in DATABASE_URL, or private/event-key, "
                "now: bring that one back, or type `foldlog store rebuild`",
            )

    def intend(self, base: Position | None, after: Position) -> None:
        """Where the store does not hold what was intended last, a publish was cut off
        or a shard restored.
        """
        held = (base.generation, base.sha256) if base else (0, "")
        last = read_note(self.data, str(self.store))
        if held != (last.intended_generation, last.intended_sha256):
            self.store.expect_more()
        note = StoreNote(
            str(self.store),
            generation=held[0],
            sha256=held[1],
            intended_generation=after.generation,
            intended_sha256=after.sha256,
            event_key=self._event_key(),
        )
        write_note(self.data, note)
        with self._hosts() as connection:
            if connection:
                self._register(connection)
                begin_writing(connection, self._instance)

    def _event_key(self) -> str:
        """A digest: the note is no secret."""
        return hashlib.sha256(b"event key " + self.store.shipping().key.encode()).hexdigest()[:KEY_DIGITS]

    def take_back(self) -> None:
        self.store.empty()
        write_note(self.data, StoreNote(str(self.store)))

    def order_rebuild(self) -> None:
        """Have all hosts fill a second table. What the store has of this instance is
        this directory's to replace, whichever host has published it.
        """
        if self.store.rebuild.is_ending():
            raise StoreUnavailable(str(self.store), "the last rebuild has not ended: type `foldlog store publish`")
        note = read_note(self.data, str(self.store))
        is_noted = all(_is_noted(held, note) for held in self.store.positions())
        if not is_noted or note.event_key not in ("", self._event_key()):
            self.store.disown()
            write_note(self.data, StoreNote(str(self.store)))
        self.store.rebuild.order()

    def retire(self, instance: UUID) -> None:
        self.store.retire(str(instance))
        with self._hosts() as connection:
            if connection:
                retire(connection, instance)

    def published(self, newest: Snapshot) -> None:
        """The intent says it already. Erasures are shared as in a store of parts, where
        each instance has a row. What concerns all hosts is done, if none
        publishes.
        """
        with self._hosts() as connection:
            if connection:
                self._register(connection)
                end_writing(connection, self._instance)
                share_orders(self.data, connection, self._instance, newest.generation, has_retired=False)
                self._erase_from_retired(connection)
            settle_cluster(self.store, connection)

    def _erase_from_retired(self, connection: Connection) -> None:
        """Carry out what is ordered of retired instances, after what is ordered of this
        one. A rebuild copies their rows once every host has filled its table, so none
        begins to while this host publishes; one that was begun is waited for.
        """
        retired = [row for row in ledger(connection).values() if row.is_retired]
        orders = {order.request: order for row in retired for order in open_orders(connection, row.instance)}
        if orders and (self.store.rebuild.is_filling() or self.store.rebuild.is_ending()):
            return
        for order in orders.values():
            self.store.erase_from_retired(order.visitor, order.site)
            for row in retired:
                if not row.generation:  # it has published nothing to that database
                    confirm_order(connection, order.request, row.instance)
            with own_spill(self.data) as scratch:
                confirm_for_retired(connection, order, scratch)
        end_orders(connection)

    @property
    def _instance(self) -> UUID:
        return UUID(self.store.host.instance)

    def _register(self, connection: Connection) -> None:
        host = self.store.host
        if self._instance not in ledger(connection):
            register(connection, self._instance, host.name, host.timezone, 1)

    @contextmanager
    def _hosts(self) -> Iterator[Connection | None]:
        """The database that the hosts share; None without one."""
        if not self.store.hosts_database:
            yield None
            return
        with migrated(self.store.hosts_database) as connection:
            yield connection


def _is_noted(held: Position, note: StoreNote) -> bool:
    """Whether the store has no more than this directory published, or was about to."""
    if held.generation == note.intended_generation:
        return held.sha256 in ("", note.intended_sha256)
    if held.generation == note.generation:
        return held.sha256 in ("", note.sha256)
    return held.generation < note.intended_generation
