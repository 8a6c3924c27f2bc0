"""A copied directory begins as another instance, beside the one that it was copied
from.
"""

from __future__ import annotations

import uuid

from compactor.claims.claims_table import pruned_before
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.load import load_snapshot
from shared.stores.instance import Instance, write_instance
from shared.stores.postgres.connection import connected
from shared.stores.postgres.store import PostgresStore
from shared.stores.store import Store


class CountedElsewhere(UsageError):
    """A directory has events of days whose claims are deleted: those that another
    instance has published, too, would count twice.
    """

    def __str__(self) -> str:
        return (
            "this directory has events of days whose ids the store does not compare any more, and another instance may "
            "have published them: begin as another instance with an empty data directory"
        )


def begin_as_another(data: DataDirectory, store: Store) -> uuid.UUID:
    """Give a directory an identity of its own, under which it publishes from the next
    time on. What another instance has claimed of its events, it then yields. Raises
    CountedElsewhere, StoreUnavailable and CompactorBusy.
    """
    with compactor_lock(data, LOCK_TIMEOUT_S):
        days = load_snapshot(data).days
        if isinstance(store, PostgresStore) and days:
            with connected(store.address) as connection:
                before = pruned_before(connection)
            if before is not None and min(days) < before:
                raise CountedElsewhere
        made = write_instance(data, Instance(uuid.uuid4(), uuid.uuid4()))
        remove([data.store_note])
    return made.instance
