"""Values that the hosts of a store share, by name: random bytes that the first who asks
for them makes.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import Connection

KEY_BYTES = 32


def known_bytes(connection: Connection, name: str) -> bytes | None:
    """None if no host has made them."""
    found = connection.execute("SELECT value FROM analytics_shared WHERE name = %s", (name,)).fetchone()
    return bytes(found[0]) if found else None


def shared_bytes(connection: Connection, name: str, offered: bytes | None = None) -> bytes:
    """Random bytes that all hosts share: those that are offered, where no host has made
    them.
    """
    if known := known_bytes(connection, name):
        return known
    made = (name, offered or secrets.token_bytes(KEY_BYTES))
    connection.execute("INSERT INTO analytics_shared (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", made)
    return known_bytes(connection, name) or b""
