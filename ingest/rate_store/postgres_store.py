"""Requests of clients in PostgreSQL, counted by one statement of our own (take.sql).

Only this module loads psycopg, in a worker whose FOLDLOG_RATE_STORE is `postgres`. A
row is deleted two windows after its last hit, or at most a minute later.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from ingest.rate_store.failure import failed
from ingest.rate_store.hash_key import KEY_LASTS_S, HashKey, make_key
from ingest.rate_store.store import Charge, RateStoreFailed, Refusal, longest, time_to_wait
from shared.stores.postgres import migrate

CONNECT_S = 2
# The last bound, for statements that no request waits for any more (link.py).
STATEMENT_TIMEOUT_MS = 1000
_TABLES = Path(migrate.__file__).with_name("migrations") / "0009_rate_limit.sql"
_CONNECTION: Mapping[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,  # a pooler may stand between
    "connect_timeout": CONNECT_S,
    "tcp_user_timeout": 5000,
    "application_name": "foldlog rate limit",
}


class PostgresStore:
    """`address` as libpq takes it. One for the life of a worker, with one
    connection.
    """

    def __init__(self, address: str, window_ms: int, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> None:
        self._address = address
        self._window_ms = window_ms
        self._statement_timeout = str(statement_timeout_ms)
        self._hash_key = HashKey()
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        await self.close()  # an earlier attempt may have come through late
        async with self._failures():
            connection = await psycopg.AsyncConnection.connect(self._address, **_CONNECTION)
            self._connection = connection
            await connection.execute("SELECT set_config('statement_timeout', %s, false)", [self._statement_timeout])
            await self._make_tables(connection)
        await self.refresh()

    async def _make_tables(self, connection: psycopg.AsyncConnection[TupleRow]) -> None:
        """Unless they are there: a role that may not make tables can use those of
        another.
        """
        found = await connection.execute("SELECT to_regclass('analytics_rate_key')")
        if (await found.fetchone() or [None])[0] is None:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", [migrate.MIGRATION_LOCK])
                await connection.execute(_TABLES.read_bytes())

    async def refresh(self) -> None:
        rows = await self._rows("hash_key", {"key": make_key(), "lasts_s": KEY_LASTS_S})
        key, left_s = rows[0]
        self._hash_key.set(key, left_s)
        await self._rows("expire", {})

    async def take(self, charges: Sequence[Charge]) -> Refusal | None:
        if self._hash_key.is_over:
            await self.refresh()
        values = {
            "window_ms": self._window_ms,
            "clients": [self._hash_key.name(charge.client) for charge in charges],
            "limits": [charge.limit for charge in charges],
            "amounts": [charge.amount for charge in charges],
        }
        rows = await self._rows("take", values)
        if all(is_taken for *_, is_taken in rows):
            return None
        refusals = (_refusal(charge, row, self._window_ms) for charge, row in zip(charges, rows, strict=True))
        # Without one, another host counted between the look and the lock.
        return longest(refusals) or Refusal(charges[0], 0)

    async def _rows(self, name: str, values: Mapping[str, object]) -> list[TupleRow]:
        """The answer to a statement. One runs at a time."""
        async with self._failures(), self._turn:
            if self._connection is None:
                raise RateStoreFailed("the connection is closed")
            cursor = await self._connection.execute(_statement(name), values)
            return await cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            # Cancelled, a statement would ask a server that stands still to end it.
            with suppress(OSError, psycopg.OperationalError):  # it is closed already
                _shut_down(connection.fileno())
            async with self._failures(), self._turn:
                await connection.close()

    @asynccontextmanager
    async def _failures(self) -> AsyncIterator[None]:
        try:
            yield
        except (psycopg.Error, OSError) as error:
            raise failed(self._address, error) from None


def _shut_down(descriptor: int) -> None:
    """End the connection of a socket, and leave the descriptor to its owner."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        same.shutdown(socket.SHUT_RDWR)


@cache
def _statement(name: str) -> bytes:
    return (Path(__file__).parent / f"{name}.sql").read_bytes()


def _refusal(charge: Charge, row: TupleRow, window_ms: int) -> Refusal | None:
    """Whether a charge is over its limit, as the statement found it."""
    previous, current, left_ms, _ = row
    used = previous * left_ms // window_ms + current
    if used + charge.amount <= charge.limit:
        return None
    wait_ms = time_to_wait(previous, left_ms, current, charge.limit, window_ms, charge.amount)
    return Refusal(charge, wait_ms / 1000, max(0, charge.limit - used))
