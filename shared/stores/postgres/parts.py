"""Parts in a PostgreSQL store: the files themselves, from which any host answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.generations.snapshot import Part
from shared.stores.store import Changes, StoredPart

if TYPE_CHECKING:
    from psycopg import Connection

_DELETE = "DELETE FROM analytics_parts WHERE instance = %s AND kind = %s AND day = %s AND generation = %s"
_INSERT = """
    INSERT INTO analytics_parts (instance, kind, day, generation, version, rows, bytes, sha256, body)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %b)
"""
# The database computes the sha256 of what it has.
_FOUND = """
    SELECT kind, day, generation, rows, length(body), encode(sha256(body), 'hex'), version
    FROM analytics_parts WHERE instance = %s
"""


def write_parts(connection: Connection, instance: str, changes: Changes) -> None:
    """Delete what is gone, and add what is new: one file at a time is in memory. Raises
    PartDamaged.
    """
    with connection.cursor() as cursor:
        cursor.executemany(_DELETE, [(instance, kind, day, part.generation) for kind, day, part in changes.gone])
    for each in changes.new:
        kind, day, part = each
        columns = (kind, day, part.generation, part.version, part.rows, part.bytes, part.sha256)
        connection.execute(_INSERT, (instance, *columns, changes.content(each)))


def found_parts(connection: Connection, instance: str) -> set[StoredPart]:
    """As the bytes are, whatever the other columns say."""
    rows = connection.execute(_FOUND, (instance,)).fetchall()
    return {StoredPart(kind, day, Part(*described)) for kind, day, *described in rows}
