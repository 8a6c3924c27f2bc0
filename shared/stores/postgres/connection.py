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
_LIMITS = """
    SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),
           set_config('idle_in_transaction_session_timeout', %s, false), set_config('TimeZone', 'UTC', false)
"""


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
    with (
        store_errors(address),
        open_connection(address, connect_timeout_s, statement_timeout_ms) as connection,
    ):
        yield connection


@contextmanager
def store_errors(address: str) -> Iterator[None]:
    """Makes what the database reports a StoreUnavailable. Raises DriverMissing."""
    try:
        import psycopg  # here: only who has such a store installs it
    except ImportError:
        raise DriverMissing from None
    try:
        yield
    except psycopg.Error as error:
        raise StoreUnavailable(store_name(address), first_line(error)) from error


def open_connection(address: str, connect_timeout_s: int, statement_timeout_ms: int) -> Connection:
    """As `connected`, for who closes it. Raises psycopg.Error."""
    import psycopg  # here, as in store_errors

    connection = psycopg.connect(
        address,
        autocommit=True,
        connect_timeout=connect_timeout_s,
        application_name="foldlog",
        client_encoding="UTF8",
        keepalives_idle=PEER_TIMEOUT_MS // 2000,
        tcp_user_timeout=PEER_TIMEOUT_MS,
    )
    try:
        connection.execute(_LIMITS, (str(statement_timeout_ms), str(LOCK_TIMEOUT_MS), str(IDLE_TIMEOUT_MS)))
    except BaseException:
        connection.close()
        raise
    return connection


def first_line(error: Exception) -> str:
    """What the database said, without its hints of statements and rows."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
