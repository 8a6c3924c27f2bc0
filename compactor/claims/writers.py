"""Which hosts write events to a ClickHouse store, in the PostgreSQL that they share.

A cluster has no transaction: a month that one host deletes could be the one that
another has just imported. So who is about to insert says so before, and what concerns
all hosts is done while nobody does. A host that was killed meanwhile is waited for
until it publishes again, or is retired.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from psycopg import Connection

_LOCK = 0x666F6C646C6F6703
_NAME = "writes_events:"
_NOTE = (
    "INSERT INTO analytics_shared (name, value) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_OTHERS = (
    "SELECT f.host FROM analytics_folded f JOIN analytics_shared s ON s.name = %s || f.instance::text "
    "WHERE octet_length(s.value) > 0 AND f.retired_at IS NULL AND f.instance <> %s"
)


def begin_writing(connection: Connection, instance: UUID) -> None:
    """Waits while another host does what concerns all."""
    _note(connection, instance, b"1")


def end_writing(connection: Connection, instance: UUID) -> None:
    _note(connection, instance, b"")


@contextmanager
def nobody_writing(connection: Connection, instance: UUID) -> Iterator[bool]:
    """Whether no other host writes; if so, none begins to during the block."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        yield connection.execute(_OTHERS, (_NAME, instance)).fetchone() is None


def _note(connection: Connection, instance: UUID, value: bytes) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_NOTE, (f"{_NAME}{instance}", value))
