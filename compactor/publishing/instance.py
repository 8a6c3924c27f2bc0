"""The id under which a directory publishes."""

from __future__ import annotations

from filelock import Timeout

from shared.disk.layout import DataDirectory
from shared.stores.instance import LOCK_TIMEOUT_S, known_instance, own_instance
from shared.stores.ledger import StoreUnavailable

__all__ = ["LOCK_TIMEOUT_S", "instance_id"]


def instance_id(data: DataDirectory) -> str:
    """The id of this directory; a new one if it has none. Takes the lock of a publish
    to make one. Raises StoreUnavailable.
    """
    try:
        return known_instance(data) or str(own_instance(data).instance)
    except Timeout:
        raise StoreUnavailable(str(data.store_lock), "another process holds it") from None
