"""The claims of an instance at a takeover: those of ids that it has published stay, the
others are released, and the host before can neither claim nor publish any more.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from compactor.claims.claim import Host
from compactor.claims.claims_table import claiming, ledger, narrow, pruned_before
from compactor.claims.kept_claims import add_stored, create_stored, kept_claims
from compactor.claims.known_claims import fetch, forget_own, new_name
from compactor.claims.note import StoreNote
from compactor.generations.archive import open_parts
from shared.generations.snapshot import Snapshot
from shared.stores.ledger import StoreRefused

_LOCKED = "SELECT generation, coalesce(snapshot_sha256, '') FROM analytics_folded WHERE instance = %s FOR UPDATE"
_TENURE = "UPDATE analytics_folded SET tenure = %s WHERE instance = %s"


def begin_takeover(host: Host, published: Snapshot, sha256: str, tenure: UUID) -> StoreNote | None:
    """Give an instance a tenure, in one transaction. Returns the note with
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
        fetch(host.database, host.connection, host.store, rows, host.instance)
        hashes = kept_claims(host.database, row)
        if host.connection.execute(_LOCKED, (host.instance,)).fetchone() != (published.generation, sha256):
            return None
        host.connection.execute(_TENURE, (tenure, host.instance))
        epoch = narrow(host.connection, row, name, hashes)
        forget_own(host.database, host.instance)
    return StoreNote(
        host.store,
        epoch=epoch,
        epoch_name=row.epoch_name,
        claims=name,
        generation=published.generation,
        sha256=sha256,
        claimed=_claimed(published, pruned),
    )


def _find_published(host: Host, published: Snapshot, pruned: date | None) -> None:
    """Fill `stored`. Days whose claims are deleted need none: no copy can come any
    more.
    """
    create_stored(host.database)
    for day in _claimed(published, pruned):
        add_stored(host.database, host.key, open_parts(host.data, "archive", day, published.days[day].archive))


def _claimed(published: Snapshot, pruned: date | None) -> dict[date, tuple[int, ...]]:
    return {
        day: tuple(part.generation for part in kept.archive)
        for day, kept in published.days.items()
        if kept.archive and (pruned is None or day >= pruned)
    }
