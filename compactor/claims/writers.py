"""Which hosts write events to a ClickHouse store, in the PostgreSQL that they share.

A cluster has no transaction: a month that one host deletes could be the one that
another has just imported. So who is about to insert says so before, and what concerns
all hosts is done while no host does. A host that was killed meanwhile is waited for
until it publishes again, or is retired.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.claims.claims_table import ledger

if TYPE_CHECKING:
    from psycopg import Connection

_LOCK = 0x666F6C646C6F6703
_NAME = "writes_events:"
_NOTE = (
    "INSERT INTO analytics_shared (name, value) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_WRITING = "SELECT name FROM analytics_shared WHERE starts_with(name, %s) AND octet_length(value) > 0"


def begin_writing(connection: Connection, instance: UUID) -> None:
    """Waits while another host does what concerns all."""
    _note(connection, instance, b"1")


def end_writing(connection: Connection, instance: UUID) -> None:
    _note(connection, instance, b"")


@contextmanager
def no_other_writing(connection: Connection, instance: UUID) -> Iterator[bool]:
    """Whether no other host writes; if so, none begins to during the block."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        writing = {name for (name,) in connection.execute(_WRITING, (_NAME,)).fetchall()}
        others = {f"{_NAME}{row.instance}" for row in ledger(connection).values() if not row.is_retired}
        yield not writing & (others - {f"{_NAME}{instance}"})


def _note(connection: Connection, instance: UUID, value: bytes) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_NOTE, (f"{_NAME}{instance}", value))
