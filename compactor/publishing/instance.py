"""Who a data directory is towards a store: a random id, made once."""

from __future__ import annotations

import uuid

import msgspec
from filelock import FileLock, Timeout

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, make_directory, publish
from shared.disk.layout import DataDirectory
from shared.stores.instance import Instance, known_instance
from shared.stores.ledger import StoreUnavailable

LOCK_TIMEOUT_S = 10.0


def instance_id(data: DataDirectory) -> str:
    """The id of this directory; a new one if it has none. Takes the lock of a publish
    to make one. Raises StoreUnavailable.
    """
    try:
        return known_instance(data) or _made(data)
    except Timeout:
        raise StoreUnavailable(str(data.store_lock), "another process holds it") from None


def _made(data: DataDirectory) -> str:
    make_directory(data.run, PRIVATE_DIRECTORY_MODE)
    with FileLock(data.store_lock, timeout=LOCK_TIMEOUT_S):
        if known := known_instance(data):
            return known
        made = Instance(uuid.uuid4())
        publish(data.instance, msgspec.json.encode(made) + b"\n")
        return str(made.instance)
