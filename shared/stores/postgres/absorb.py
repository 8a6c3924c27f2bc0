"""What a store does when a host takes over what a retired instance has published: its
rows and its claims become those of the host, in the transaction that publishes the
generation which has its events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from shared.generations.snapshot import Absorbed
from shared.stores.ledger import StoreRefused

if TYPE_CHECKING:
    from psycopg import Connection

CLAIM_LOCK = 0x666F6C646C6F6702
# No directory continues a retired instance: its tenure names the host that absorbs it.
# Another one may only where that host is gone.
_RESERVE = """
    UPDATE analytics_folded AS gone SET tenure = %s
    WHERE instance = %s AND retired_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM analytics_folded AS host
        WHERE host.instance = gone.tenure AND host.instance <> %s AND host.retired_at IS NULL
    )
"""
_GENERATION = "SELECT generation FROM analytics_folded WHERE instance = %s FOR UPDATE"
_MOVE_CLAIMS = """
    UPDATE analytics_ids AS claims SET instance = host.instance, epoch = host.epoch, epoch_name = host.epoch_name
    FROM analytics_folded AS host WHERE host.instance = %(host)s AND claims.instance = %(gone)s
"""
_NOTE = """
    UPDATE analytics_folded
    SET horizon = NULL, absorbed = CASE WHEN instance = %(host)s THEN %(gone)s ELSE absorbed END
"""
_COPY_SALT_DAYS = """
    INSERT INTO analytics_own_salts (instance, day, begins_at, ends_at)
    SELECT %(host)s, day, begins_at, ends_at FROM analytics_own_salts WHERE instance = %(gone)s
    ON CONFLICT DO NOTHING
"""
# What hosts said of their horizons says nothing of what they yielded to these claims.
_MOVE = (
    _MOVE_CLAIMS,
    _NOTE,
    _COPY_SALT_DAYS,
    "DELETE FROM analytics_counters WHERE instance = %(gone)s",
    "DELETE FROM analytics_parts WHERE instance = %(gone)s",
    "DELETE FROM analytics_visitors WHERE instance = %(gone)s",
    "DELETE FROM analytics_folded WHERE instance = %(gone)s",
)


def reserve(connection: Connection, instance: UUID, host: UUID) -> bool:
    """Let one host alone absorb a retired instance. Returns whether it is this one."""
    return connection.execute(_RESERVE, (host, instance, host)).rowcount == 1


def take_in(connection: Connection, store: str, host: str, absorbed: Iterable[Absorbed]) -> None:
    """Make what these instances have that of a host, as the first statements of the
    transaction that publishes their events. One that is not there was taken in before.
    Raises StoreRefused.
    """
    connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))
    for each in absorbed:
        found = connection.execute(_GENERATION, (each.instance,)).fetchone()
        if found is None:
            continue
        if found[0] > each.generation:
            reason = f"has more of the instance {each.instance} than this host has absorbed: another host continues it"
            raise StoreRefused(store, reason)
        for statement in _MOVE:
            connection.execute(statement.encode(), {"host": UUID(host), "gone": each.instance})
