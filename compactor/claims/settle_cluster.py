"""What concerns all hosts of a ClickHouse store: the end of a rebuild, and months that
have expired on every host. It is done while no host inserts.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.claims.writers import no_other_writing
from shared.stores.clickhouse.store import ClickHouseStore

if TYPE_CHECKING:
    from psycopg import Connection


def settle_cluster(store: ClickHouseStore, connection: Connection | None) -> None:
    """A host whose turn it is not tries again after its next publish. `connection`: to
    the database that the hosts share; None for one host alone.
    """
    if not (_can_end(store) or store.forget_expired(dry_run=True)):
        return
    alone = no_other_writing(connection, UUID(store.host.instance)) if connection else nullcontext(True)
    with alone as is_alone:
        if is_alone:
            if _can_end(store):
                store.rebuild.end()
            store.forget_expired()


def _can_end(store: ClickHouseStore) -> bool:
    rebuild = store.rebuild
    if rebuild.is_ending():
        return True
    if not rebuild.is_filling() or rebuild.waits_for():
        return False
    rebuild.copy_retired()
    return True
