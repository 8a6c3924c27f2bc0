"""Erasures and retired instances: no host carries an order out in what such an instance
has published. An order stays open for those that hold the visitor, and reports leave
the visitor out of them for as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.erasure.orders_table import confirm_order
from shared.duckdb_engine import connect, one_row
from shared.erasures import ErasureRequest
from shared.stores.postgres.retired import waiting_retired

if TYPE_CHECKING:
    from psycopg import Connection

MEMORY_BYTES = 64 << 20
# What it has yielded it may count again, or a host that absorbs it.
_PARTS = "SELECT body FROM analytics_parts WHERE instance = %s AND kind IN ('archive', 'yielded')"
_OF_VISITOR = (
    "SELECT count(*) FROM read_parquet($1, hive_partitioning = false) WHERE visitor = $2 AND site = coalesce($3, site)"
)


def confirm_for_retired(connection: Connection, order: ErasureRequest, scratch: Path) -> None:
    """Confirm an order for retired instances that hold nothing of the visitor, and so
    for those that have published nothing.
    """
    for retired in waiting_retired(connection, order.request):
        if not any(_holds(part, order) for part in _parts(connection, retired.instance, scratch)):
            confirm_order(connection, order.request, retired.instance)


def _parts(connection: Connection, instance: UUID, scratch: Path) -> Iterator[Path]:
    """Parts with events, one at a time under one name."""
    path = scratch / "retired.parquet"
    with connection.transaction(), connection.cursor("retired") as cursor:
        cursor.itersize = 1
        cursor.execute(_PARTS, (instance,))
        for (body,) in cursor:
            path.write_bytes(body)
            yield path


def _holds(part: Path, order: ErasureRequest) -> bool:
    with closing(connect(MEMORY_BYTES, 1)) as database:
        (events,) = one_row(database, _OF_VISITOR, [str(part), order.visitor, order.site])
    return bool(events)
