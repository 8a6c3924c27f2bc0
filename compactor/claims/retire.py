"""Retirement: a host is gone for good. What it has published counts on and stays
claimed. What it claimed besides is released, and hosts that yielded it count it.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.claims import claims_table
from compactor.claims.claim import Host
from compactor.claims.claims_table import HASH_BYTES, LedgerRow, claiming, ledger, narrow, pruned_before
from compactor.claims.hashes import id_hashes_sql
from compactor.claims.known_claims import as_block, new_name
from compactor.sql import run_script, sql_file
from shared.generations.snapshot import Part
from shared.stores.ledger import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from psycopg import Connection

_PARTS = """
    SELECT day, generation, rows, bytes, sha256, version, body FROM analytics_parts
    WHERE instance = %s AND kind = 'archive' AND day >= %s
"""


def retire(host: Host, instance: UUID, scratch: Path) -> LedgerRow:
    """Retire an instance of the store, this one or another. Returns its row. Raises
    StoreRefused if the store has no such instance.
    """
    row = ledger(host.connection).get(instance)
    if row is None:
        raise StoreRefused(host.name, f"has no instance {instance}: `foldlog store status` lists them")
    hashes = _published_ids(host, instance, scratch)
    with claiming(host.connection):
        if ledger(host.connection)[instance]._replace(horizon=row.horizon) != row:
            raise StoreUnavailable(
                host.name, "that instance has published or claimed meanwhile: is its host still alive?"
            )
        kept = {
            day: ids for day, found in hashes.items() if (ids := _claimed_of(host.connection, instance, day, found))
        }
        narrow(host.connection, row, new_name(), kept)
        claims_table.retire(host.connection, instance)
    return row


def _published_ids(host: Host, instance: UUID, scratch: Path) -> dict[date, set[UUID]]:
    """The hashes of ids that an instance has published, of the days whose claims are
    kept.
    """
    run_script(host.database, sql_file(__file__, "wanted.sql"))
    since = pruned_before(host.connection) or date.min
    path = scratch / "archive.parquet"
    with host.connection.transaction(), host.connection.cursor("archive") as cursor:
        cursor.itersize = 1
        cursor.execute(_PARTS, (instance, since))
        for day, *described, body in cursor:
            path.write_bytes(body)
            hashes = id_hashes_sql([(Part(*described), path)])
            sql = f"INSERT INTO wanted SELECT $day::DATE, hash FROM {hashes}"
            host.database.execute(sql, {"day": day, "key": host.key})
    found: dict[date, set[UUID]] = {}
    for day, hash_ in host.database.execute("SELECT day, hash FROM wanted").fetchall():
        found.setdefault(day, set()).add(hash_)
    return found


def _claimed_of(connection: Connection, instance: UUID, day: date, among: set[UUID]) -> bytes:
    """Those of the hashes that an instance has claimed on a day, as a block."""
    blocks = connection.execute("SELECT ids FROM analytics_ids WHERE instance = %s AND day = %s", (instance, day))
    claimed = {
        UUID(bytes=ids[at : at + HASH_BYTES]) for (ids,) in blocks.fetchall() for at in range(0, len(ids), HASH_BYTES)
    }
    return as_block(list(claimed & among))
