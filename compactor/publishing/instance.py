"""Who a data directory is towards a store: a random id, made once."""

from __future__ import annotations

import uuid

import msgspec

from shared.disk.durable import publish
from shared.disk.layout import DataDirectory


class _Instance(msgspec.Struct, frozen=True):
    instance: uuid.UUID


_DECODER = msgspec.json.Decoder(_Instance)


def instance_id(data: DataDirectory) -> str:
    """The id of this directory; a new one if it has none. The caller holds the lock of
    a publish.
    """
    try:
        return str(_DECODER.decode(data.instance.read_bytes()).instance)
    except FileNotFoundError:
        made = _Instance(uuid.uuid4())
        publish(data.instance, msgspec.json.encode(made) + b"\n")
        return str(made.instance)
