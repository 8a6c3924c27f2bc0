"""Documents in a PostgreSQL store: a row each, with its newest version.

No statement has the bytes of a document in it: COPY carries them, so that a database
that logs statements with their parameters does not log what signs sessions of share
links.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from shared.stores.postgres.migrate import migrated

if TYPE_CHECKING:
    from psycopg import Connection

# What another host has changed is known here after about that long, while the store
# answers.
FETCH_S = 15.0
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 15_000
_PEEK = "SELECT version, encode(sha256(content), 'hex') FROM analytics_documents WHERE name = %s"
_MAKE = "INSERT INTO analytics_documents (name, version, content) VALUES (%s, 0, '') ON CONFLICT DO NOTHING"
_HOLD = "SELECT version, content FROM analytics_documents WHERE name = %s FOR UPDATE"
_CHANGED = "CREATE TEMP TABLE changed_documents (LIKE analytics_documents) ON COMMIT DROP"
_COPY = "COPY changed_documents (name, version, content) FROM STDIN"
_CHANGE = """
    UPDATE analytics_documents AS held SET version = changed.version, content = changed.content
    FROM changed_documents AS changed WHERE held.name = changed.name
"""


class Version(NamedTuple):
    """One version of a document."""

    number: int
    sha256: str


def connected_to(store: str) -> AbstractContextManager[Connection]:
    """Raises DriverMissing, StoreUnavailable and StoreRefused."""
    return migrated(store, connect_timeout_s=CONNECT_TIMEOUT_S, statement_timeout_ms=STATEMENT_TIMEOUT_MS)


def peek(connection: Connection, name: str) -> Version | None:
    """The newest version, without a lock; None if there is none."""
    found = connection.execute(_PEEK, (name,)).fetchone()
    return Version(*found) if found and found[0] else None


def hold(connection: Connection, name: str) -> tuple[int, bytes]:
    """Number and bytes of the newest version, which no other host changes before the
    transaction ends. Number 0: none yet.
    """
    connection.execute(_MAKE, (name,))
    number, content = connection.execute(_HOLD, (name,)).fetchone() or (0, b"")
    return number, bytes(content)


def change(connection: Connection, name: str, number: int, content: bytes) -> None:
    """Make this the newest version, once in the transaction that holds the document."""
    connection.execute(_CHANGED)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.write_row((name, number, content))
    connection.execute(_CHANGE)
