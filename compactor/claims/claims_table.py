"""Claims: an event id counts once over the hosts of a store, in the instance that
claimed it first (P7).

What hosts agree on stands in `analytics_ids` and `analytics_folded`, and is changed in
transactions that hold one lock, so that each sees all claims of those before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from shared.lateness import DEDUPE_DAYS
from shared.stores.postgres.absorb import CLAIM_LOCK

if TYPE_CHECKING:
    from psycopg import Connection

HASH_BYTES = 16
NIL = UUID(int=0)
ID_KEY = "id_key"
STORE_ID = "store"
_PRUNED_BEFORE = "claims_pruned_before"
# A host whose clock is ahead must not have the claims of today deleted, for good.
_AT_MOST_TODAY = "least(%s::date, (now() AT TIME ZONE 'UTC')::date - %s)"


class LedgerRow(NamedTuple):
    """The row of an instance in the ledger, without its snapshot. `horizon`: the oldest
    day of which it may still claim an id; None if unknown. `published_seq`: blocks with
    higher numbers are of no generation that was published. `absorbed`: the last
    instance whose claims became its own.
    """

    instance: UUID
    host: str
    timezone: str
    epoch: int
    epoch_name: UUID
    claims: UUID
    generation: int
    sha256: str
    horizon: date | None
    is_retired: bool
    published_seq: int
    absorbed: UUID | None = None


class Block(NamedTuple):
    """What an instance claimed of one UTC day in one transaction, or a part of it:
    hashes of HASH_BYTES each, sorted. All blocks of a transaction have one name.
    """

    seq: int
    day: date
    name: UUID
    instance: UUID
    epoch_name: UUID
    hashes: bytes


DayHashes = tuple[date, bytes]
"""A UTC day, and hashes of HASH_BYTES each, sorted."""


@contextmanager
def claiming(connection: Connection) -> Iterator[None]:
    """A transaction that holds the lock of claims from its first statement.

    READ COMMITTED, and the lock in a statement of its own: under REPEATABLE READ, who
    waited for the lock would see the claims as they were before the wait.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))
        yield


def ledger(connection: Connection) -> dict[UUID, LedgerRow]:
    """The rows of all instances."""
    rows = connection.execute(
        "SELECT instance, host, timezone, epoch, epoch_name, claims, generation, coalesce(snapshot_sha256, ''), "
        "horizon, retired_at IS NOT NULL, published_seq, absorbed "
        "FROM analytics_folded"
    ).fetchall()
    return {row[0]: LedgerRow(*row) for row in rows}


def locked_ledger(connection: Connection, instance: UUID) -> dict[UUID, LedgerRow]:
    """The rows, the one of `instance` locked: its publish that is not committed yet, by
    another host with the same identity, is waited for and seen. To be called in
    `claiming`, before the row is compared and changed.
    """
    connection.execute("SELECT FROM analytics_folded WHERE instance = %s FOR NO KEY UPDATE", (instance,))
    return ledger(connection)


def register(connection: Connection, instance: UUID, host: str, timezone: str, epoch: int) -> None:
    """Add the row of an instance, if it has none, without a generation."""
    connection.execute(
        "INSERT INTO analytics_folded (instance, host, timezone, epoch, epoch_name, claims) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (instance) DO NOTHING",
        (instance, host, timezone, epoch, NIL, NIL),
    )


def blocks_after(connection: Connection, seq: int) -> Iterator[Block]:
    """The blocks with higher numbers, in order, a few at a time."""
    with connection.transaction(), connection.cursor("claims") as cursor:
        cursor.itersize = 16
        cursor.execute(
            "SELECT seq, day, name, instance, epoch_name, ids FROM analytics_ids WHERE seq > %s ORDER BY seq, day",
            (seq,),
        )
        for found in cursor:
            yield Block(*found)


def has_block(connection: Connection, seq: int, name: UUID) -> bool:
    """Whether a number still belongs to that block: after a restore of the store it may
    be another's.
    """
    found = connection.execute("SELECT 1 FROM analytics_ids WHERE seq = %s AND name = %s LIMIT 1", (seq, name))
    return found.fetchone() is not None


def claim(connection: Connection, row: LedgerRow, name: UUID, hashes: Iterable[DayHashes]) -> None:
    """Add the blocks of one transaction, of ids that no other instance has. To be
    called in `claiming`.
    """
    _insert_blocks(connection, row, name, hashes)
    connection.execute("UPDATE analytics_folded SET claims = %s WHERE instance = %s", (name, row.instance))


def begin_epoch(
    connection: Connection,
    row: LedgerRow,
    epoch: int,
    name: UUID,
    published: Iterable[DayHashes],
    hashes: Iterable[DayHashes] = (),
) -> None:
    """Release every claim of an instance and claim these instead: first those of ids
    that it has published. To be called in `claiming`.

    What any host said of its horizon says nothing of what it yielded to this instance,
    and is void.
    """
    connection.execute("DELETE FROM analytics_ids WHERE instance = %s", (row.instance,))
    connection.execute("UPDATE analytics_folded SET horizon = NULL")
    begun = row._replace(epoch=epoch, epoch_name=name)
    _insert_blocks(connection, begun, name, published)
    _note_published(connection, row.instance)
    _insert_blocks(connection, begun, name, hashes)
    connection.execute(
        "UPDATE analytics_folded SET epoch = %s, epoch_name = %s, claims = %s WHERE instance = %s",
        (epoch, name, name, row.instance),
    )


def narrow(connection: Connection, row: LedgerRow, name: UUID, hashes: Iterable[DayHashes]) -> int:
    """Release the claims of an instance except these, which it goes on counting.
    Returns its epoch. To be called in `claiming`.

    Its epoch stays: what other hosts yielded to these claims stays yielded, also where
    the claims of a day are deleted. Its number rises, so that every host compares again
    what it yielded, and that the last holder of the instance is refused.
    """
    epoch = max(row.epoch, 1) + 1  # a host that has noted nothing is in its first
    connection.execute("DELETE FROM analytics_ids WHERE instance = %s", (row.instance,))
    connection.execute("UPDATE analytics_folded SET horizon = NULL")
    _insert_blocks(connection, row._replace(epoch=epoch), name, hashes)
    _note_published(connection, row.instance)
    sql = "UPDATE analytics_folded SET epoch = %s, claims = %s WHERE instance = %s"
    connection.execute(sql, (epoch, name, row.instance))
    return epoch


def retire(connection: Connection, instance: UUID) -> None:
    """Note that no host has this instance any more. To be called in `claiming`."""
    sql = "UPDATE analytics_folded SET retired_at = coalesce(retired_at, now()) WHERE instance = %s"
    connection.execute(sql, (instance,))


def release(connection: Connection, row: LedgerRow, name: UUID, hashes: Iterable[DayHashes]) -> None:
    """Release the claims of an instance, of which nothing is published any more, except
    these. To be called in `claiming`, in the transaction that takes it back.
    """
    begin_epoch(connection, row, row.epoch + 1, name, hashes)


def _note_published(connection: Connection, instance: UUID) -> None:
    """Note that all that an instance has claimed until now is of ids that it has
    published; a publish does the same.
    """
    last = "SELECT coalesce(max(seq), 0) FROM analytics_ids WHERE instance = %s"
    sql = f"UPDATE analytics_folded SET published_seq = ({last}) WHERE instance = %s"
    connection.execute(sql.encode(), (instance, instance))


def _insert_blocks(connection: Connection, row: LedgerRow, name: UUID, hashes: Iterable[DayHashes]) -> None:
    sql = (
        "INSERT INTO analytics_ids (seq, day, name, instance, epoch, epoch_name, ids) "
        "VALUES (nextval('analytics_ids_seq'), %s, %s, %s, %s, %s, %b)"
    )
    for day, ids in hashes:
        connection.execute(sql, (day, name, row.instance, row.epoch, row.epoch_name, ids))


def state_horizon(connection: Connection, instance: UUID, horizon: date, window_days: int) -> date | None:
    """Note the oldest day that an instance may still claim ids of, and delete the
    claims that no copy can meet any more. Returns before which day they are deleted. To
    be called in `claiming`.
    """
    sql = f"UPDATE analytics_folded SET horizon = {_AT_MOST_TODAY} WHERE instance = %s"
    connection.execute(sql.encode(), (horizon, window_days, instance))
    stated = connection.execute(
        "SELECT min(horizon) - %s, bool_and(horizon IS NOT NULL) FROM analytics_folded WHERE retired_at IS NULL",
        (window_days,),
    ).fetchone()
    before: date | None = stated[0] if stated and stated[1] else None
    pruned = pruned_before(connection)
    if before is None or (pruned is not None and before <= pruned):
        return pruned
    connection.execute("DELETE FROM analytics_ids WHERE day < %s", (before,))
    connection.execute(
        "INSERT INTO analytics_shared (name, value) VALUES (%s, %s) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_PRUNED_BEFORE, before.isoformat().encode("ascii")),
    )
    return before


def begin_pruning(connection: Connection, before: date) -> None:
    """Keep no claims of days before this one, unless that is decided already: of a new
    store, whose first host may have years of events that no copy can meet.
    """
    sql = (
        "INSERT INTO analytics_shared (name, value) SELECT %s, convert_to("
        f"({_AT_MOST_TODAY})::text, 'UTF8') ON CONFLICT (name) DO NOTHING"
    )
    connection.execute(sql.encode(), (_PRUNED_BEFORE, before, 2 * DEDUPE_DAYS + 1))


def pruned_before(connection: Connection) -> date | None:
    """Claims of days before this one are deleted; None while there are all."""
    found = connection.execute("SELECT value FROM analytics_shared WHERE name = %s", (_PRUNED_BEFORE,)).fetchone()
    return date.fromisoformat(bytes(found[0]).decode("ascii")) if found else None
