"""`analytics_orders`: erasures that all hosts of a store have to carry out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from shared.erasures import ErasureRequest

if TYPE_CHECKING:
    from psycopg import Connection

_ADD = (
    "INSERT INTO analytics_orders (request, asked_at, visitor, site) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (request) DO NOTHING"
)
_OPEN = (
    "SELECT request, asked_at, visitor, site FROM analytics_orders WHERE ended_at IS NULL AND NOT %s = ANY (confirmed)"
)
_CONFIRM = "UPDATE analytics_orders SET confirmed = confirmed || %s WHERE request = %s AND NOT %s = ANY (confirmed)"
_END = (
    "UPDATE analytics_orders SET ended_at = now(), visitor = NULL WHERE ended_at IS NULL "
    "AND (SELECT bool_and(instance = ANY (confirmed)) FROM analytics_folded WHERE retired_at IS NULL OR generation > 0)"
)


def add_order(connection: Connection, order: ErasureRequest) -> None:
    """Have every instance carry it out. An order that is there already stays as it
    is.
    """
    connection.execute(_ADD, (order.request, order.asked_at, order.visitor, order.site))


def open_orders(connection: Connection, instance: UUID) -> list[ErasureRequest]:
    """Orders that an instance has not confirmed, and that have not ended."""
    return [ErasureRequest(*row) for row in connection.execute(_OPEN, (instance,)).fetchall()]


def confirm_order(connection: Connection, request: str, instance: UUID) -> None:
    """Note that nothing of the visitor is left in what an instance has published."""
    connection.execute(_CONFIRM, (instance, request, instance))


def end_orders(connection: Connection) -> None:
    """End the orders that every instance has confirmed, or was confirmed for: the
    visitor leaves the store. A retired one that has published nothing is not waited
    for.
    """
    connection.execute(_END)
