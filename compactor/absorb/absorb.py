"""Absorbing: a host takes over what a retired instance has published, so that all that
the store has is derived from directories of hosts again.

One generation of this directory has the events of both, and names the instance. The
transaction that publishes it, or any later one, makes what the store has of that
instance this host's. So whatever is cut off, the next publish ends it, and nothing
counts twice meanwhile: the store has the one or the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from compactor.absorb.expired_days import DaysDiffer, expired_day, kept_visitors_meet, refuse_dropped_days
from compactor.absorb.leave_out import orders_for, without_visitors
from compactor.absorb.note import note_begun, read_absorb_note
from compactor.absorb.open_days import OpenDay, merge_open_day
from compactor.absorb.theirs import Theirs
from compactor.claims.claims_table import LedgerRow, ledger
from compactor.context import PassContext, pass_context
from compactor.generations.commit import commit
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.next_generation import next_generation
from compactor.publishing.settle import publish_settled
from compactor.summary.summarize import with_summary
from compactor.takeover.fetch_parts import fetch_parts, held_generation
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Absorbed, Day, Snapshot, Totals
from shared.log import Log
from shared.settings import Settings
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.absorb import reserve
from shared.stores.postgres.connection import connected
from shared.stores.postgres.store import PostgresStore
from shared.stores.store import Store
from shared.timestamps import now_ms

if TYPE_CHECKING:
    from datetime import date

    from psycopg import Connection

START_AGAIN = (
    "To do without what this host has not published, move this directory away, and type `foldlog store takeover` with "
    "its FOLDLOG_INSTANCE and FOLDLOG_DATA_DIR on an empty directory"
)


class Done(NamedTuple):
    """`events` of the instance that this directory has now, without `duplicates`, which
    it had already, and without those of visitors who are erased.
    """

    generation: int
    events: int
    duplicates: int


def absorb(data: DataDirectory, settings: Settings, store: Store, log: Log, instance: UUID) -> Done:
    """Absorb a retired instance, and publish. Run again after any error, it goes on.
    Raises StoreRefused and StoreUnavailable, and as `publish_settled`.
    """
    if not isinstance(store, PostgresStore):
        raise StoreRefused(str(store), "has no instances of other hosts: only a PostgreSQL store has")
    if instance not in read_absorb_note(data).unsure:
        publish_settled(data, settings, store, log)
    done = Done(load_snapshot(data).generation, 0, 0)
    if instance not in {each.instance for each in load_snapshot(data).absorbed_instances}:
        with connected(store.address) as connection:
            _require_retired(connection, store, instance)
            with (
                compactor_lock(data, LOCK_TIMEOUT_S) as lock,
                pass_context(data, settings, log, lock, now_ms()) as context,
            ):
                note_begun(data, instance)
                theirs = _fetch(context, connection, store, instance)
                done = _commit(context, theirs)
        log.info("instance_absorbed", instance=str(instance), **done._asdict())
        publish_settled(data, settings, store, log)
    return done


def _require_retired(connection: Connection, store: PostgresStore, instance: UUID) -> LedgerRow:
    """Let no other host absorb it. Raises StoreRefused."""
    rows = ledger(connection)
    row, name = rows.get(instance), str(store)
    if row is None:
        raise StoreRefused(name, f"has no instance {instance}: `foldlog store status` lists them")
    if instance == UUID(store.instance):
        raise StoreRefused(name, "has that instance as this directory: nothing is to be absorbed")
    if not row.is_retired:
        raise StoreRefused(name, f"has not retired {instance}: type `foldlog store retire {instance}` once it is gone")
    if row.timezone != store.timezone:
        reason = f"has {instance} with FOLDLOG_TIMEZONE {row.timezone}, which differs from {store.timezone} here"
        raise StoreRefused(name, f"{reason}: absorb it on a host with that zone")
    if not reserve(connection, instance, UUID(store.instance)):
        raise StoreRefused(name, f"lets another host absorb {instance}: end that there, or retire that host")
    return row


def _fetch(context: PassContext, connection: Connection, store: PostgresStore, instance: UUID) -> Theirs:
    """Its published generation, in the scratch directory, without visitors who are
    erased.
    """
    data = DataDirectory(context.scratch / "absorbed")
    make_data_directory(data)
    held = held_generation(connection, instance, str(store))
    if held is None or not fetch_parts(connection, data, instance, held.snapshot, str(store)):
        raise StoreUnavailable(str(store), f"parts of {instance} are missing: restore the database")
    theirs = Theirs(instance, data, held.snapshot)
    return without_visitors(context, theirs, orders_for(context.data, connection, instance))


def _commit(context: PassContext, theirs: Theirs) -> Done:
    before = load_or_restore_snapshot(context.data, context.log, context.lock)
    days, duplicates = _merge_days(context, before, theirs)
    snapshot = theirs.snapshot
    absorbed = Absorbed(theirs.instance, snapshot.generation, snapshot.as_of, snapshot.totals.counted - duplicates)
    dropped = dict(before.dropped_days)
    for day, events in snapshot.dropped_days.items():
        dropped[day] = dropped.get(day, 0) + events
    after = replace(
        next_generation(context, before),
        days=days,
        totals=_sum(before.totals, snapshot.totals, duplicates),
        dropped_days=dropped,
        absorbed=(*before.absorbed_instances, *snapshot.absorbed_instances, absorbed),
    )
    after = with_summary(context, before, after)
    commit(context.data, before, after, context.lock)
    prune_history(context.data, after)
    return Done(after.generation, snapshot.totals.counted - duplicates, duplicates)


def _merge_days(context: PassContext, before: Snapshot, theirs: Theirs) -> tuple[dict[date, Day], int]:
    """All days afterwards, and how many events this directory had already."""
    days, duplicates = dict(before.days), 0
    is_unsure = theirs.instance in read_absorb_note(context.data).unsure
    refuse_dropped_days(before, theirs)
    for day, kept in sorted(theirs.snapshot.days.items()):
        ours = before.days.get(day)
        if kept.expired or (ours and ours.expired):
            if ours and is_unsure:
                raise DaysDiffer(day, "its counters may be here already, since the snapshot was lost. " + START_AGAIN)
            days[day] = expired_day(context, before, theirs, day)
        else:
            merged: OpenDay = merge_open_day(context, before, theirs, day)
            days[day], duplicates = merged.day, duplicates + merged.duplicates
    for day in kept_visitors_meet(before, theirs):
        days[day] = expired_day(context, before, theirs, day)
    return dict(sorted(days.items())), duplicates


def _sum(ours: Totals, theirs: Totals, duplicates: int) -> Totals:
    """What it had set aside was in its log, and is gone with it: that counts as
    quarantined. The sum adds up where both do.
    """
    return Totals(
        lines=ours.lines + theirs.lines,
        counted=ours.counted + theirs.counted - duplicates,
        duplicates=ours.duplicates + theirs.duplicates + duplicates,
        conflicts=ours.conflicts + theirs.conflicts,
        quarantined=ours.quarantined + theirs.quarantined + theirs.set_aside,
        damaged_segments=ours.damaged_segments + theirs.damaged_segments,
        erased=ours.erased + theirs.erased,
        set_aside=ours.set_aside,
    )
