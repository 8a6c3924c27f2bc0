"""Connections to a PostgreSQL store: who connects waits for nothing without a limit,
and an error names the store without its password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.exit_codes import UsageError
from shared.stores.address import shown_address
from shared.stores.ledger import StoreUnavailable

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_TIMEOUT_S = 10
# A first publish copies all parts and rows that a host has.
STATEMENT_TIMEOUT_MS = 600_000
LOCK_TIMEOUT_MS = 10_000
IDLE_TIMEOUT_MS = 60_000
# A peer that is gone is noticed after that long.
PEER_TIMEOUT_MS = 60_000


class DriverMissing(UsageError):
    """psycopg is not installed."""

    def __str__(self) -> str:
        return "a PostgreSQL store needs psycopg: type `pip install 'foldlog[postgres]'`"


def store_name(address: str) -> str:
    """How messages name a store."""
    return f"the PostgreSQL store {shown_address(address)}"


@contextmanager
def connected(
    address: str, *, connect_timeout_s: int = CONNECT_TIMEOUT_S, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS
) -> Iterator[Connection]:
    """A connection that commits each statement; `with connection.transaction()` makes
    one of several. Raises DriverMissing, and StoreUnavailable for whatever the database
    reports.
    """
    try:
        import psycopg  # here: only who has such a store installs it
    except ImportError:
        raise DriverMissing from None
    try:
        with psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=connect_timeout_s,
            application_name="foldlog",
            client_encoding="UTF8",
            keepalives_idle=PEER_TIMEOUT_MS // 2000,
            tcp_user_timeout=PEER_TIMEOUT_MS,
        ) as connection:
            limits = {
                "statement_timeout": statement_timeout_ms,
                "lock_timeout": LOCK_TIMEOUT_MS,
                "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
            }
            for name, value in limits.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
            connection.execute("SET TIME ZONE 'UTC'")
            yield connection
    except psycopg.Error as error:
        raise StoreUnavailable(store_name(address), first_line(error)) from error


def first_line(error: Exception) -> str:
    """What the database said, without its hints of statements and rows."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
