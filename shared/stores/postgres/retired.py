"""Retired instances of a store that still hold a visitor who is to be erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from shared.stores.postgres.connection import connected

if TYPE_CHECKING:
    from psycopg import Connection

_WAITING_RETIRED = (
    "SELECT instance, host FROM analytics_folded WHERE retired_at IS NOT NULL AND generation > 0 "
    "AND (SELECT NOT analytics_folded.instance = ANY (confirmed) FROM analytics_orders WHERE request = %s) "
    "ORDER BY host, instance"
)


class Retired(NamedTuple):
    """A retired instance, and the name that its host had."""

    instance: UUID
    host: str


def waiting_retired(connection: Connection, request: str) -> list[Retired]:
    """Retired instances for which an order is not confirmed."""
    return [Retired(*row) for row in connection.execute(_WAITING_RETIRED, (request,)).fetchall()]


def retired_holders(address: str, request: str) -> list[Retired]:
    """Retired instances whose published events an erasure does not reach. Raises
    StoreUnavailable and StoreRefused.
    """
    with connected(address) as connection:
        return waiting_retired(connection, request)
