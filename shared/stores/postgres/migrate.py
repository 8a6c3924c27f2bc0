"""The schema of a PostgreSQL store: numbered SQL files, each applied once, all in one
transaction under an advisory lock, so that hosts that start together do not collide.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.stores.ledger import StoreRefused
from shared.stores.postgres.connection import (
    CONNECT_TIMEOUT_S,
    STATEMENT_TIMEOUT_MS,
    connected,
    store_name,
)

if TYPE_CHECKING:
    from psycopg import Connection

# Locks are numbers of 64 bits, shared with whatever else uses the database.
MIGRATION_LOCK = 0x666F6C646C6F6701
ENCODING = "UTF8"
_VERSIONS = """
    CREATE TABLE IF NOT EXISTS analytics_schema (
        version integer PRIMARY KEY,
        name text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


class Migration(NamedTuple):
    """A file of migrations/, such as `0001_tables.sql`."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All of them, in order."""
    paths = sorted(Path(__file__).with_name("migrations").glob("*.sql"))
    return [Migration(int(path.name[:4]), path.stem[5:], path.read_text("utf-8")) for path in paths]


def pending_migrations(connection: Connection, address: str) -> list[Migration]:
    """What is not applied yet. Raises StoreRefused where a newer Foldlog has applied
    more.
    """
    known, applied = migrations(), _applied(connection)
    if applied > known[-1].version:
        raise StoreRefused(
            store_name(address),
            f"was migrated by a newer Foldlog (schema {applied}, this one knows {known[-1].version})",
        )
    return [each for each in known if each.version > applied]


def migrate(connection: Connection, address: str) -> list[Migration]:
    """Apply what is not applied yet, and return it. Raises StoreRefused."""
    if not pending_migrations(connection, address):
        return []
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise StoreRefused(
            store_name(address), f"has the encoding {encoding}: make a database with ENCODING '{ENCODING}'"
        )
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        pending = pending_migrations(connection, address)
        for statement, values in _statements(pending):
            connection.execute(statement, values)
    return pending


@contextmanager
def migrated(
    address: str, *, connect_timeout_s: int = CONNECT_TIMEOUT_S, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS
) -> Iterator[Connection]:
    """As `connected`, to a database with the tables of this version. Raises
    StoreRefused, too.
    """
    with connected(
        address, connect_timeout_s=connect_timeout_s, statement_timeout_ms=statement_timeout_ms
    ) as connection:
        migrate_if_allowed(connection, address)
        yield connection


def migrate_if_allowed(connection: Connection, address: str) -> None:
    """As `migrate`, for a role that may lack the rights. Raises StoreRefused with what
    to type.
    """
    import psycopg  # here, as in connection.py

    try:
        migrate(connection, address)
    except psycopg.errors.InsufficientPrivilege:
        raise StoreRefused(
            store_name(address),
            "lacks tables that this role may not make: type `foldlog store migrate` as the role that owns them",
        ) from None


def script(pending: list[Migration]) -> str:
    """The same as SQL for psql."""
    noted = "INSERT INTO analytics_schema (version, name) VALUES"
    parts = (f"{each.sql.rstrip()}\n{noted} ({each.version}, '{each.name}');\n" for each in pending)
    return "\n".join(["BEGIN;", f"{_VERSIONS.strip()};", *parts, "COMMIT;"]) if pending else ""


def _statements(pending: list[Migration]) -> Iterator[tuple[str, tuple[object, ...] | None]]:
    yield _VERSIONS, None
    for each in pending:
        yield each.sql, None
        yield "INSERT INTO analytics_schema (version, name) VALUES (%s, %s)", (each.version, each.name)


def _applied(connection: Connection) -> int:
    """The newest version that is applied; 0 for a database without Foldlog's tables.

    The catalogue is read as a table: to_regclass remembers within a transaction that a
    table was missing.
    """
    sql = "SELECT 1 FROM pg_tables WHERE tablename = 'analytics_schema' AND schemaname = ANY (current_schemas(false))"
    if connection.execute(sql).fetchone() is None:
        return 0
    found = connection.execute("SELECT coalesce(max(version), 0) FROM analytics_schema").fetchone()
    return int(found[0]) if found else 0
