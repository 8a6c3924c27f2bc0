"""Publishing to a store: make it hold the newest generation, from whatever generation
it holds.

What a publish changes is the difference of two snapshots, so a store that was down for
a day, was restored from a backup or belongs to a restored directory is put right by the
next one. It never changes the data directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from compactor.claims.own_rows import OwnRows
from compactor.claims.session import Claims, claims_of
from compactor.publishing.changed_events import Progress
from compactor.publishing.changed_rows import whole_day
from compactor.publishing.changed_visitors import visitor_digests
from compactor.publishing.changes import SnapshotChanges
from compactor.publishing.compare_events import compare_events
from compactor.publishing.fill_rebuilt import fill_rebuilt, wants_filling
from compactor.publishing.instance import instance_id, publishing_lock
from compactor.publishing.note_state import note_emptied, note_published, noting_failure
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.duckdb_engine import connect
from shared.generations.consistent_read import read_published
from shared.generations.snapshot import Day, Snapshot, encode_snapshot
from shared.settings import Settings
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.ledger import Position, StoreRefused
from shared.stores.store import Store, stored_parts
from shared.timestamps import now_ms

if TYPE_CHECKING:
    import duckdb

# Of FOLDLOG_FOLD_MEMORY, beside the pass that may run meanwhile.
MEMORY_SHARE = 4


class Published(NamedTuple):
    """`generation` is in the store now; before, it had `before` (0: nothing)."""

    before: int
    generation: int


def publish_newest(
    data: DataDirectory,
    settings: Settings,
    store: Store,
    at_ms: int | None = None,
    *,
    progress: Progress | None = None,
) -> Published:
    """Publish the newest generation, now or as if it was `at_ms`. `progress` is told
    what was sent to a store that keeps events one by one. Raises StoreUnavailable,
    StoreRefused, IdsClaimedElsewhere, PartDamaged and DuckDB's errors.
    """
    with noting_failure(data, settings):
        instance = instance_id(data)
        with _claims(data, settings, store, at_ms) as claims:
            to = _Target(settings, store, instance, claims, progress)
            return read_published(data, lambda newest: _publish(data, to, newest))


@contextmanager
def _claims(data: DataDirectory, settings: Settings, store: Store, at_ms: int | None = None) -> Iterator[Claims]:
    """Under the lock of a publish. Raises StoreUnavailable and StoreRefused."""
    today = datetime.fromtimestamp((now_ms() if at_ms is None else at_ms) / 1000, UTC).date()
    memory_bytes = settings.fold_memory // MEMORY_SHARE
    with publishing_lock(data, str(store)), claims_of(data, store, memory_bytes, today) as claims:
        yield claims


def _own_position(store: Store, instance: str) -> Position | None:
    """What the store holds. Raises StoreRefused if that is of another directory."""
    base = store.position()
    if base is not None and base.instance != instance:
        raise StoreRefused(
            str(store),
            f"holds the events of another data directory ({base.instance}): use another file, or type "
            "`foldlog store rebuild` to replace them",
        )
    return base


class _Target(NamedTuple):
    """Where a publish goes."""

    settings: Settings
    store: Store
    instance: str
    claims: Claims
    progress: Progress | None


def _publish(data: DataDirectory, to: _Target, newest: Snapshot) -> Published:
    settings, store, instance, claims, progress = to
    claims.claim(newest)
    base = _own_position(store, instance)
    content = encode_snapshot(newest)
    at = base or Position(instance, 0, "", Snapshot())
    after = at._replace(generation=newest.generation, sha256=hashlib.sha256(content).hexdigest(), snapshot=newest)
    if base is None or base.sha256 != after.sha256:
        claims.intend(base, after)
        with _database(data, settings) as database:
            changes = SnapshotChanges(database, data, at.snapshot, newest, progress=progress)
            store.publish(base, after, content, changes)
    else:
        store.confirm(after)
    if wants_filling(store, after):
        with _database(data, settings) as database:
            fill_rebuilt(store, claims, after, content, partial(SnapshotChanges, database, data, progress=progress))
    claims.published(newest)
    note_published(data, settings, newest)
    return Published(at.generation, after.generation)


def take_back(data: DataDirectory, settings: Settings, store: Store) -> None:
    """Delete all that is published of this directory; of a store that one host has for
    itself, whatever it holds. Raises as `publish_newest`.
    """
    with _claims(data, settings, store) as claims:
        claims.take_back()
        note_emptied(data, settings)


def retire_instance(data: DataDirectory, settings: Settings, store: Store, instance: UUID) -> None:
    """Give up an instance of a store of several hosts: what it has published counts on.
    Raises StoreRefused and StoreUnavailable.
    """
    with _claims(data, settings, store) as claims:
        claims.retire(instance)


def rebuild_store(data: DataDirectory, settings: Settings, store: Store) -> Published:
    """Publish everything again. Raises as `publish_newest`.

    What a store has of this directory is taken back before; a cluster answers from it
    until all hosts have filled a second table.
    """
    if not isinstance(store, ClickHouseStore):
        take_back(data, settings, store)
        return publish_newest(data, settings, store)
    with _claims(data, settings, store):
        OwnRows(data, store).order_rebuild()
    done = publish_newest(data, settings, store)
    while store.rebuild.is_filling() and not store.rebuilt().has_all():
        publish_newest(data, settings, store)
    return done


def compare_store(
    data: DataDirectory, settings: Settings, store: Store, report: Callable[[str], None]
) -> Position | None:
    """Compare every row of the store with the parts of the generation that it holds,
    and `report` each day that differs. Returns what it holds. Raises PartDamaged where
    parts of that generation are deleted: publish first.
    """
    held = store.position()
    snapshot = held.snapshot if held else Snapshot()
    if isinstance(store, ClickHouseStore):
        with _database(data, settings) as database, own_spill(data) as scratch:
            compare_events(database, data, store, snapshot, scratch, report)
        return held
    key = store.visitor_key()
    with _database(data, settings) as database:
        for day in sorted({*snapshot.days, *store.days()}):
            kept = snapshot.days.get(day, Day(""))
            rows = {row for page in whole_day(database, data, day, kept).pages for row in page}
            _compare(rows, store.rows(day), f"{day}: ", "rows", report)
            if key:
                visitors = visitor_digests(database, data, day, kept, key)
                _compare(visitors, store.visitors(day), f"{day}: ", "rows of visitors", report)
    parts = store.parts()
    if parts is not None:
        _compare(set(stored_parts(snapshot)), parts, "", "parts", report)
    return held


def _compare(
    expected: AbstractSet[object], found: AbstractSet[object], where: str, what: str, report: Callable[[str], None]
) -> None:
    missing, wrong = len(expected - found), len(found - expected)
    if missing or wrong:
        report(f"{where}{missing:,} {what} are missing or differ, {wrong:,} are wrong")


@contextmanager
def _database(data: DataDirectory, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    memory_bytes = settings.fold_memory // MEMORY_SHARE
    with own_spill(data) as spill, closing(connect(memory_bytes, 1, spill)) as database:
        yield database
