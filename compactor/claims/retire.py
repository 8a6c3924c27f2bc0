"""Retirement: a host is gone for good. What it has published counts on and stays
claimed, also what it has erased. What it claimed for a generation that was never
published is released, and hosts that yielded it count it.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from uuid import UUID

from compactor.claims import claims_table
from compactor.claims.claim import Host
from compactor.claims.claims_table import LedgerRow, claiming, ledger, narrow, pruned_before
from compactor.claims.kept_claims import add_stored, create_stored, kept_claims
from compactor.claims.known_claims import fetch, new_name
from shared.generations.snapshot import Part
from shared.stores.ledger import StoreRefused, StoreUnavailable

_PARTS = (
    "SELECT generation, rows, bytes, sha256, version, body FROM analytics_parts "
    "WHERE instance = %s AND kind = 'archive' AND day >= %s"
)
_UNFOLDED = "SELECT 1 FROM analytics_log WHERE instance = %s LIMIT 1"


def retire(host: Host, instance: UUID, scratch: Path) -> LedgerRow:
    """Retire an instance of the store, this one or another. Returns its row. Raises
    StoreRefused if the store has no such instance, or has lines of it that were
    acknowledged and are in no generation yet.
    """
    row = ledger(host.connection).get(instance)
    if row is None:
        raise StoreRefused(host.name, f"has no instance {instance}: `foldlog store status` lists them")
    if host.connection.execute(_UNFOLDED, (instance,)).fetchone():
        reason = f"has lines of {instance} that are not counted yet: start `foldlog serve` once with FOLDLOG_INSTANCE"
        raise StoreRefused(host.name, f"{reason}={instance} on an empty directory, and retire it then")
    _find_published(host, instance, scratch)
    with claiming(host.connection):
        rows = ledger(host.connection)
        if rows[instance]._replace(horizon=row.horizon) != row:
            raise StoreUnavailable(host.name, "that instance published or claimed meanwhile: its host is alive")
        fetch(host.database, host.connection, host.store, rows, host.instance)
        narrow(host.connection, row, new_name(), kept_claims(host.database, row))
        claims_table.retire(host.connection, instance)
    return row


def _find_published(host: Host, instance: UUID, scratch: Path) -> None:
    """Fill `stored` with what an instance has published, of the days whose claims are
    kept.
    """
    create_stored(host.database)
    path = scratch / "archive.parquet"
    with host.connection.transaction(), host.connection.cursor("archive") as cursor:
        cursor.itersize = 1
        cursor.execute(_PARTS, (instance, pruned_before(host.connection) or date.min))
        for *described, body in cursor:
            path.write_bytes(body)
            add_stored(host.database, host.key, [(Part(*described), path)])
