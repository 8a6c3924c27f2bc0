"""A copied directory begins as another instance, beside the one that it was copied
from.
"""

from __future__ import annotations

import uuid
from contextlib import closing

from compactor.claims.claims_table import pruned_before
from compactor.generations.archive import open_archive, stored_events
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.sql import count_rows
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.exit_codes import UsageError
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.stores.instance import Instance, write_instance
from shared.stores.postgres.connection import connected
from shared.stores.postgres.store import PostgresStore
from shared.stores.store import Store

MEMORY_BYTES = 64 << 20


class CountedElsewhere(UsageError):
    """A directory has events that no claim compares: of days whose claims are deleted,
    or without an id of their client. If another instance has them, too, they would
    count twice.
    """

    def __str__(self) -> str:
        return (
            "this directory has events whose ids the store does not compare (of days long past, or without an id of "
            "the client), and another instance may have published them: begin as another one with an empty directory"
        )


def begin_as_another(data: DataDirectory, store: Store) -> uuid.UUID:
    """Give a directory an identity of its own, under which it publishes from the next
    time on. What another instance has claimed of its events, it then yields. Raises
    CountedElsewhere, StoreUnavailable and CompactorBusy.
    """
    with compactor_lock(data, LOCK_TIMEOUT_S):
        snapshot = load_snapshot(data)
        if isinstance(store, PostgresStore) and snapshot.days and not _is_compared(data, store, snapshot):
            raise CountedElsewhere
        made = write_instance(data, Instance(uuid.uuid4(), uuid.uuid4()))
        remove([data.store_note])
    return made.instance


def _is_compared(data: DataDirectory, store: PostgresStore, snapshot: Snapshot) -> bool:
    """Whether each event has an id that claims compare."""
    with connected(store.address) as connection:
        before = pruned_before(connection)
    if before is not None and min(snapshot.days) < before:
        return False
    opened = open_archive(data, snapshot, snapshot.days)
    with closing(connect(MEMORY_BYTES, 1)) as database:
        return not opened or not count_rows(database, f"{stored_events(opened)} WHERE client_id IS NULL")
