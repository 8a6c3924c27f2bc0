"""The id under which a directory publishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import Timeout

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, make_directory
from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock
from shared.stores.instance import LOCK_TIMEOUT_S, known_instance, own_instance
from shared.stores.ledger import StoreUnavailable

__all__ = ["LOCK_TIMEOUT_S", "instance_id", "publishing_lock"]


def instance_id(data: DataDirectory) -> str:
    """The id of this directory; a new one if it has none. Takes the lock of a publish
    to make one. Raises StoreUnavailable.
    """
    try:
        return known_instance(data) or str(own_instance(data).instance)
    except Timeout:
        raise StoreUnavailable(str(data.store_lock), "another process holds it") from None


@contextmanager
def publishing_lock(data: DataDirectory, store: str) -> Iterator[None]:
    """The right to publish, which one process at a time has. Raises
    StoreUnavailable.
    """
    make_directory(data.run, PRIVATE_DIRECTORY_MODE)
    with ExitStack() as stack:
        try:
            stack.enter_context(owner_lock(data.store_lock, LOCK_TIMEOUT_S))
        except Timeout:
            raise StoreUnavailable(store, "another process is publishing to it") from None
        yield
