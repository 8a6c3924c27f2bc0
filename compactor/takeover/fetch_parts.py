"""The published generation of an instance, from its store into an empty directory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.generations.id_index import write_ids
from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Day, Snapshot, decode_snapshot, encode_snapshot
from shared.stores.ledger import StoreRefused
from shared.stores.store import StoredPart, stored_parts

if TYPE_CHECKING:
    from datetime import date

    from psycopg import Connection

_HELD = "SELECT generation, coalesce(snapshot_sha256, ''), snapshot FROM analytics_folded WHERE instance = %s"
_BODY = (
    "SELECT body FROM analytics_parts "
    "WHERE instance = %s AND kind = %s AND day = %s AND generation = %s AND sha256 = %s"
)


class Held(NamedTuple):
    """The generation that a store holds of an instance, and the bytes of its snapshot;
    of an instance that has not published, generation 0 and none.
    """

    generation: int
    sha256: str
    content: bytes
    snapshot: Snapshot


def held_generation(connection: Connection, instance: UUID, store: str) -> Held | None:
    """None for an instance that the store does not know."""
    row = connection.execute(_HELD, (instance,)).fetchone()
    if row is None:
        return None
    generation, sha256, found = row
    content = bytes(found or b"")
    return Held(generation, sha256, content, decode_snapshot(content, Path(store)) if content else Snapshot())


def fetch_parts(connection: Connection, data: DataDirectory, instance: UUID, snapshot: Snapshot, store: str) -> bool:
    """Publish each part of a generation as the file that its snapshot references. False
    where another generation was published meanwhile, or the store is damaged. Raises
    StoreRefused for a part with other bytes.
    """
    for each in stored_parts(snapshot):
        columns = (instance, each.kind, each.day, each.part.generation, each.part.sha256)
        row = connection.execute(_BODY, columns).fetchone()
        if row is None:
            return False
        publish(data.part(each.kind, each.day, each.part.generation), _checked(bytes(row[0]), each, store))
    return True


def _checked(body: bytes, stored: StoredPart, store: str) -> bytes:
    if hashlib.sha256(body).hexdigest() != stored.part.sha256:
        name = f"{stored.kind}/{stored.day} of generation {stored.part.generation}"
        raise StoreRefused(store, f"is damaged: the part {name} differs from its sha256. Restore the database")
    return body


def publish_snapshot(context: PassContext, held: Held) -> None:
    """Publish the generation here. The store has no indexes of ids: they are made
    again, and the next generation references them.
    """
    days = {day: _with_ids(context, day, kept) for day, kept in held.snapshot.days.items()}
    if days == held.snapshot.days:
        publish(context.data.snapshot, held.content)
        return
    after = replace(held.snapshot, generation=held.generation + 1, days=days)
    publish(context.data.snapshot, encode_snapshot(after))


def _with_ids(context: PassContext, day: date, kept: Day) -> Day:
    indexed = {part.generation for part in kept.ids}
    made = [
        write_ids(context, day, part.generation, [context.data.part("archive", day, part.generation)])
        for part in kept.archive
        if part.generation in indexed or part.version == 1
    ]
    return replace(kept, ids=tuple(part for part in made if part))
