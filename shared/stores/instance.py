"""The id under which a store knows a data directory."""

from __future__ import annotations

import uuid

import msgspec

from shared.disk.layout import DataDirectory


class Instance(msgspec.Struct, frozen=True):
    """The file `instance.json`."""

    instance: uuid.UUID


_DECODER = msgspec.json.Decoder(Instance)


def known_instance(data: DataDirectory) -> str | None:
    """The id of a directory; None where it has never published."""
    try:
        return str(_DECODER.decode(data.instance.read_bytes()).instance)
    except FileNotFoundError:
        return None
