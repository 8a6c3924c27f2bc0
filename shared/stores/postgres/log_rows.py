"""Rows of the log in a PostgreSQL store, of hosts without a disk that lasts: what they
have acknowledged, until the generation that has folded it is published.

Each insert names the tenure of its directory, and locks the row of the instance in the
ledger against a takeover: who takes over waits for inserts under way, and later ones
add nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from shared.disk.layout import SegmentName, parse_segment
from shared.generations.snapshot import Snapshot
from shared.stores.ledger import NO_CLAIMS

if TYPE_CHECKING:
    from psycopg import Connection

# Lines whose insert had no answer are sent again, with those of the next commit.
INSERT = """
    INSERT INTO analytics_log (instance, tenure, writer, sequence, first_byte, lines)
    SELECT instance, tenure, $3::text, $4::bigint, $5::bigint, $6::bytea
    FROM analytics_folded WHERE instance = $1::uuid AND tenure = $2::uuid AND retired_at IS NULL FOR KEY SHARE
    ON CONFLICT (instance, writer, sequence, first_byte) DO UPDATE SET lines = excluded.lines
    WHERE substring(excluded.lines FOR length(analytics_log.lines)) = analytics_log.lines
"""
# Epoch 0: a directory that has published to this store before claims everything again.
_REGISTER = """
    INSERT INTO analytics_folded (instance, host, timezone, epoch, epoch_name, claims, tenure)
    VALUES (%s, %s, %s, 0, %s, %s, %s)
    ON CONFLICT (instance) DO UPDATE SET tenure = excluded.tenure WHERE analytics_folded.tenure IS NULL
"""
_HAS_TENURE = "SELECT tenure = %s AND retired_at IS NULL FROM analytics_folded WHERE instance = %s"
_LEAVE = """
    DELETE FROM analytics_log
    WHERE instance = %s AND writer = %s AND sequence <= %s AND sequence <> ALL (%s::bigint[])
"""
_ROWS = """
    SELECT writer, sequence, first_byte, lines FROM analytics_log
    WHERE instance = %(instance)s AND (writer = %(writer)s OR %(writer)s::text IS NULL) AND sequence >= %(sequence)s
    ORDER BY writer, sequence, first_byte
"""
_PAGE_ROWS = 16


class LogRow(NamedTuple):
    """The lines of one commit, and where they stand in their segment."""

    writer: str
    sequence: int
    first_byte: int
    lines: bytes


def begin_tenure(connection: Connection, instance: UUID, tenure: UUID, host: str, timezone: str) -> bool:
    """Add the row of an instance that the store does not know, and name its directory.
    Returns whether this directory continues the instance.
    """
    connection.execute(_REGISTER, (instance, host, timezone, NO_CLAIMS, NO_CLAIMS, tenure))
    return has_tenure(connection, instance, tenure)


def has_tenure(connection: Connection, instance: UUID, tenure: UUID) -> bool:
    found = connection.execute(_HAS_TENURE, (tenure, instance)).fetchone()
    return bool(found and found[0])


def log_rows(connection: Connection, instance: UUID, writer: str | None = None, sequence: int = 0) -> Iterator[LogRow]:
    """The rows of an instance from a segment on, by writer and place; a few at a
    time.
    """
    values = {"instance": instance, "writer": writer, "sequence": sequence}
    with connection.transaction(), connection.cursor("log_rows") as cursor:
        cursor.itersize = _PAGE_ROWS
        cursor.execute(_ROWS, values)
        for row in cursor:
            yield LogRow(*row)


def renumber_rows(connection: Connection, instance: UUID, writer: str, old: int, new: int) -> None:
    """A segment was sealed under another number than it was begun with."""
    connection.execute(
        "UPDATE analytics_log SET sequence = %s WHERE instance = %s AND writer = %s AND sequence = %s",
        (new, instance, writer, old),
    )


def delete_row(connection: Connection, instance: UUID, writer: str, sequence: int, first_byte: int) -> None:
    """Its lines stand elsewhere."""
    place = (instance, writer, sequence, first_byte)
    connection.execute(
        "DELETE FROM analytics_log WHERE instance = %s AND writer = %s AND sequence = %s AND first_byte = %s", place
    )


def delete_folded(connection: Connection, instance: str, published: Snapshot) -> None:
    """Delete the rows of segments that a published generation has folded."""
    kept = unfolded_numbers(published)
    for writer, folded in published.folded.items():
        connection.execute(_LEAVE, (instance, writer, folded, sorted(kept.get(writer, ()))))


def unfolded_numbers(published: Snapshot) -> dict[str, set[int]]:
    """By writer: sequence numbers below the highest folded one of segments that are
    missing, folded in part or set aside in part.
    """
    kept = {writer: set(numbers) for writer, numbers in published.missing.items()}
    for name in unfolded_names(published):
        kept.setdefault(name.writer, set()).add(name.sequence)
    return kept


def unfolded_names(published: Snapshot) -> list[SegmentName]:
    """Segments that a snapshot names because it has not folded all of their lines."""
    stems = {*published.partial, *(entry.segment for entry in published.set_aside)}
    return [name for stem in sorted(stems) if (name := parse_segment(f"{stem}.ndjson"))]
