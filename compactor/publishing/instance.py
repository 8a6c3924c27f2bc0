"""Who a data directory is towards a store: a random id, made once."""

from __future__ import annotations

import uuid

import msgspec
from filelock import FileLock, Timeout

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, make_directory, publish
from shared.disk.layout import DataDirectory
from shared.stores.ledger import StoreUnavailable

LOCK_TIMEOUT_S = 10.0


class _Instance(msgspec.Struct, frozen=True):
    instance: uuid.UUID


_DECODER = msgspec.json.Decoder(_Instance)


def instance_id(data: DataDirectory) -> str:
    """The id of this directory; a new one if it has none. Takes the lock of a publish
    to make one. Raises StoreUnavailable.
    """
    try:
        return _known(data) or _made(data)
    except Timeout:
        raise StoreUnavailable(str(data.store_lock), "another process holds it") from None


def _known(data: DataDirectory) -> str | None:
    try:
        return str(_DECODER.decode(data.instance.read_bytes()).instance)
    except FileNotFoundError:
        return None


def _made(data: DataDirectory) -> str:
    make_directory(data.run, PRIVATE_DIRECTORY_MODE)
    with FileLock(data.store_lock, timeout=LOCK_TIMEOUT_S):
        if known := _known(data):
            return known
        made = _Instance(uuid.uuid4())
        publish(data.instance, msgspec.json.encode(made) + b"\n")
        return str(made.instance)
