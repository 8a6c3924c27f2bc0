"""What a publish to a store of several hosts does about ids: claim them before it, note
what it intends and what came of it, and state after it what may still come from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Protocol
from uuid import UUID

from msgspec.structs import replace

from compactor.absorb.note import read_absorb_note, unnamed
from compactor.claims.claim import Host, claim_ids, open_host, place_in_store
from compactor.claims.claims_table import (
    begin_pruning,
    claiming,
    ledger,
    locked_ledger,
    pruned_before,
    release,
    state_horizon,
)
from compactor.claims.compare import has_seen_all
from compactor.claims.kept_claims import add_stored, create_stored, gone_claims
from compactor.claims.known_claims import fetch, forget_own, new_name, open_known_claims
from compactor.claims.note import StoreNote, place_of, with_outcome, write_note
from compactor.claims.own_rows import OwnRows
from compactor.claims.retire import retire
from compactor.claims.standing import horizon
from compactor.claims.unfolded import received_days
from compactor.erasure.orders import confirm_at_retirement, share_orders
from compactor.generations.archive import open_parts
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.lateness import DEDUPE_DAYS
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.ledger import Position, StoreRefused, StoreUnavailable
from shared.stores.postgres.migrate import migrated
from shared.stores.postgres.store import PostgresStore
from shared.stores.store import Store

# A clock may be behind the store's by a day, and an event be late.
UNFOLDED_DAYS = 1 + DEDUPE_DAYS


class Claims(Protocol):
    """What a publish asks before, during and after it."""

    def claim(self, newest: Snapshot) -> None:
        """Claim the ids of a generation. Raises IdsClaimedElsewhere, StoreRefused and
        StoreUnavailable.
        """

    def intend(self, base: Position | None, after: Position) -> None:
        """Note what is about to be published over `base`. Raises StoreUnavailable if
        that is not what this directory published last.
        """

    def take_back(self) -> None:
        """Delete all that is published of this directory, and release its claims,
        except those of ids that it has erased, or whose archive has expired. Raises
        StoreRefused and PartDamaged.
        """

    def retire(self, instance: UUID) -> None:
        """Give an instance up: no host has it any more. Raises StoreRefused and
        StoreUnavailable.
        """

    def published(self, newest: Snapshot) -> None:
        """Note that a generation is published, and say what may still come."""


class NoClaims:
    """Of a store that one host has for itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, newest: Snapshot) -> None:
        """Nothing is shared."""

    def intend(self, base: Position | None, after: Position) -> None:
        """Nothing is noted: such a store is put right from whatever it holds."""

    def take_back(self) -> None:
        """Whatever it holds."""
        self._store.empty()

    def retire(self, instance: UUID) -> None:
        """It has one instance only."""
        raise StoreRefused(str(self._store), "belongs to this directory alone: delete its file, or use `rebuild`")

    def published(self, newest: Snapshot) -> None:
        """No other host waits for it."""


@contextmanager
def claims_of(data: DataDirectory, store: Store, memory_bytes: int, today: date) -> Iterator[Claims]:
    """The claims of a publish to this store on a UTC day."""
    if isinstance(store, ClickHouseStore):
        yield OwnRows(data, store)
        return
    if not isinstance(store, PostgresStore):
        yield NoClaims(store)
        return
    with (
        own_spill(data) as spill,
        migrated(store.address) as connection,
        open_known_claims(data.known_claims, memory_bytes, spill) as database,
    ):
        host = open_host(data, database, connection, UUID(store.instance), str(store))
        yield HostClaims(host, store, today)


class HostClaims:
    """Of a store that several hosts share."""

    def __init__(self, host: Host, store: PostgresStore, today: date) -> None:
        self._host, self._store, self._today = host, store, today
        self._note = StoreNote()

    def claim(self, newest: Snapshot) -> None:
        """See Claims; so for the other methods."""
        row, note, found = place_in_store(self._host, self._store.host_name, self._store.timezone)
        self._refuse_unsure(newest)
        if pruned_before(self._host.connection) is None:
            begin_pruning(self._host.connection, self._horizon(newest) - timedelta(days=DEDUPE_DAYS))
        self._note = claim_ids(self._host, row, note, found, newest)

    def _refuse_unsure(self, newest: Snapshot) -> None:
        """What a rebuild has found here of an instance that is being absorbed would
        count twice while the store has that. Raises StoreRefused.
        """
        rows = ledger(self._host.connection)
        for each in unnamed(newest, read_absorb_note(self._host.data).unsure):
            if each in rows:
                reason = f"has {each}, whose events may be in this directory, too, since a rebuild without a snapshot"
                raise StoreRefused(self._host.name, f"{reason}: type `foldlog store absorb {each}`")

    def intend(self, base: Position | None, after: Position) -> None:
        found = (base.epoch, base.claims, base.generation, base.sha256) if base else None
        note = self._note
        if found != (note.epoch, note.claims, note.generation, note.sha256):
            raise StoreUnavailable(str(self._store), "its ledger changed meanwhile")
        intended = replace(note, intended_generation=after.generation, intended_sha256=after.sha256)
        self._note = write_note(self._host.data, intended)

    def take_back(self) -> None:
        host, name = self._host, new_name()
        row, note, _ = place_in_store(host, self._store.host_name, self._store.timezone)
        write_note(host.data, replace(note, claimed={}, intended_epoch=row.epoch + 1, intended_claims=name))
        self._find_stored()
        with claiming(host.connection):
            rows = locked_ledger(host.connection, host.instance)
            if place_of(rows[host.instance]) != place_of(row):
                raise StoreUnavailable(host.name, "its ledger changed meanwhile")
            fetch(host.database, host.connection, host.store, rows, host.instance)
            self._store.take_back(host.connection)
            release(host.connection, row, name, gone_claims(host.database, rows[host.instance]))
            forget_own(host.database, host.instance)

    def _find_stored(self) -> None:
        """Fill `stored` with the archive of this directory."""
        host, before = self._host, pruned_before(self._host.connection) or date.min
        create_stored(host.database)
        for day, kept in load_snapshot(host.data).days.items():
            if day >= before:
                add_stored(host.database, host.key, open_parts(host.data, "archive", day, kept.archive))

    def retire(self, instance: UUID) -> None:
        with own_spill(self._host.data) as scratch:
            retire(self._host, instance, scratch)
            confirm_at_retirement(self._host.connection, instance, scratch)

    def published(self, newest: Snapshot) -> None:
        host = self._host
        row = ledger(host.connection)[host.instance]
        note = with_outcome(self._note, row)
        if note != self._note:
            self._note = write_note(host.data, note)
        share_orders(host.data, host.connection, host.instance, row.generation)
        oldest = self._horizon(newest)
        if row.horizon == oldest:
            return
        with claiming(host.connection):
            if has_seen_all(host.database, ledger(host.connection)):
                state_horizon(host.connection, host.instance, oldest, DEDUPE_DAYS)

    def _horizon(self, newest: Snapshot) -> date:
        """The oldest UTC day of which this host may still claim an id: of an event that
        comes now, or of a line that this generation does not have.
        """
        days = [each.toordinal() - DEDUPE_DAYS for each in received_days(self._host.data, newest)]
        return date.fromordinal(horizon(self._today.toordinal(), days, UNFOLDED_DAYS))
