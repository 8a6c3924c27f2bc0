"""The claims of an instance at a takeover: those of what is published stay, the others
are released, and a new epoch begins, in which the host before can neither claim nor
publish.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from compactor.claims.claim import Host
from compactor.claims.claims_table import begin_epoch, claiming, ledger, pruned_before
from compactor.claims.hashes import id_hashes_sql
from compactor.claims.known_claims import as_block, fetch, new_name
from compactor.claims.note import StoreNote
from compactor.generations.archive import open_parts
from shared.generations.snapshot import Snapshot
from shared.stores.ledger import StoreRefused

_LOCKED = "SELECT generation, coalesce(snapshot_sha256, '') FROM analytics_folded WHERE instance = %s FOR UPDATE"
_TENURE = "UPDATE analytics_folded SET tenure = %s WHERE instance = %s"
# As the model has it: claims of an id that stays are kept on all of its days.
_STAYS = (
    "SELECT day, hash FROM stays "
    "UNION SELECT day, hash FROM known.claims WHERE instance = $1::UUID AND hash IN (SELECT hash FROM stays)"
)


def begin_takeover(host: Host, published: Snapshot, sha256: str, tenure: UUID) -> StoreNote | None:
    """Give an instance a tenure and an epoch, in one transaction. Returns the note with
    which the next publish finds itself; None where another generation than this one was
    published meanwhile. Waits for inserts of log lines under way. Raises StoreRefused.
    """
    pruned = pruned_before(host.connection)
    _find_published(host, published, pruned)
    name = new_name()
    with claiming(host.connection):
        rows = ledger(host.connection)
        row = rows[host.instance]
        if row.is_retired:
            raise StoreRefused(host.name, f"has retired this instance ({host.instance}): begin as another one")
        fetch(host.database, host.connection, host.store, rows)
        hashes = _stays(host)
        if host.connection.execute(_LOCKED, (host.instance,)).fetchone() != (published.generation, sha256):
            return None
        host.connection.execute(_TENURE, (tenure, host.instance))
        begin_epoch(host.connection, row, row.epoch + 1, name, hashes)
    return StoreNote(
        host.store,
        epoch=row.epoch + 1,
        epoch_name=name,
        claims=name,
        generation=published.generation,
        sha256=sha256,
        claimed=_claimed(published, pruned),
    )


def _find_published(host: Host, published: Snapshot, pruned: date | None) -> None:
    """Fill `stays` (day, hash): the ids of a published generation. Those of days whose
    claims are deleted need none: no copy can come any more.
    """
    host.database.execute("CREATE OR REPLACE TEMP TABLE stays (day DATE, hash UUID)")
    for day in _claimed(published, pruned):
        hashes = id_hashes_sql(open_parts(host.data, "archive", day, published.days[day].archive))
        sql = f"INSERT INTO stays SELECT DISTINCT $day::DATE, hash FROM {hashes}"
        host.database.execute(sql, {"day": day, "key": host.key})


def _stays(host: Host) -> dict[date, bytes]:
    found: dict[date, list[UUID]] = {}
    for day, hash_ in host.database.execute(_STAYS, [host.instance]).fetchall():
        found.setdefault(day, []).append(hash_)
    return {day: as_block(hashes) for day, hashes in found.items()}


def _claimed(published: Snapshot, pruned: date | None) -> dict[date, tuple[int, ...]]:
    return {
        day: tuple(part.generation for part in kept.archive)
        for day, kept in published.days.items()
        if kept.archive and (pruned is None or day >= pruned)
    }
