"""The key of the hashes of events: all hosts of a store must have the same one, or
copies on two of them would not meet.
"""

from __future__ import annotations

import secrets

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, publish
from shared.disk.layout import DataDirectory
from shared.stores.postgres.migrate import migrated
from shared.stores.postgres.shared_values import KEY_BYTES, shared_bytes

_NAME = "event_key"


def event_key(data: DataDirectory, hosts_database: str) -> str:
    """Hex digits: of the PostgreSQL that the hosts share, or, without one, of this
    directory. The first of several hosts brings the key that it had while it was alone.
    Ask with the lock of a publish. Raises StoreUnavailable.
    """
    try:
        own = data.event_key.read_text("ascii").strip()
    except FileNotFoundError:
        own = ""
    if hosts_database:
        with migrated(hosts_database) as connection:
            return shared_bytes(connection, _NAME, bytes.fromhex(own)).hex()
    if not own:
        own = secrets.token_hex(KEY_BYTES)
        make_directory(data.private, PRIVATE_DIRECTORY_MODE)
        publish(data.event_key, f"{own}\n".encode(), PRIVATE_MODE)
    return own
