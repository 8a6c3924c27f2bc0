"""Who a data directory is towards a store: a random id, made once."""

from __future__ import annotations

import uuid

import msgspec

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, make_directory, publish
from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock
from shared.exit_codes import UsageError
from shared.generations.load import newest_part_generation, was_published
from shared.segments.sealed import active_segments, sealed_segments

LOCK_TIMEOUT_S = 10.0


class Instance(msgspec.Struct, frozen=True, omit_defaults=True):
    """The file `instance.json`. `tenure`: this directory, among those that have
    continued the instance one after the other; directories of an earlier release have
    none. `is_taking_over`: what the last one left is not all here yet. `is_restoring`:
    the published generation is not all in place yet.
    """

    instance: uuid.UUID
    tenure: uuid.UUID | None = None
    is_taking_over: bool = False
    is_restoring: bool = False


class OtherInstance(UsageError):
    """FOLDLOG_INSTANCE is another one than that of the directory."""

    def __init__(self, data: DataDirectory, wanted: uuid.UUID, found: uuid.UUID | None) -> None:
        super().__init__(data, wanted, found)
        self.data, self.wanted, self.found = data, wanted, found

    def __str__(self) -> str:
        found = f"the instance {self.found}" if self.found else "no instance"
        return (
            f"FOLDLOG_INSTANCE is {self.wanted}, and {self.data.root} is {found}: start `foldlog serve` with "
            "FOLDLOG_DATA_DIR on an empty directory to take that instance over, or unset FOLDLOG_INSTANCE"
        )


class NotEmpty(UsageError):
    """A directory that is the instance already has events of its own: a takeover would
    have to count again what its last life has not published.
    """

    def __init__(self, data: DataDirectory, instance: uuid.UUID) -> None:
        super().__init__(data, instance)
        self.data, self.instance = data, instance

    def __str__(self) -> str:
        return (
            f"{self.data.root} is the instance {self.instance} already, and not empty. If the store refuses it "
            "because it was restored from a backup, type `foldlog store restore`: it fills the directory again from "
            "the store, and keeps what only the directory has"
        )


class TakeoverUnfinished(UsageError):
    """A takeover into this directory has not ended."""

    def __str__(self) -> str:
        return "this directory takes an instance over, and that has not ended: type `foldlog store takeover`"


class RestoreUnfinished(UsageError):
    """The published generation was being put in place here, and that has not ended."""

    def __str__(self) -> str:
        return "this directory is being restored from the store, and that has not ended: type `foldlog store restore`"


_DECODER = msgspec.json.Decoder(Instance)


def read_instance(data: DataDirectory) -> Instance | None:
    """Who a directory is; None where it has never been anybody."""
    try:
        return _DECODER.decode(data.instance.read_bytes())
    except FileNotFoundError:
        return None


def known_instance(data: DataDirectory) -> str | None:
    """The id of a directory; None where it has never published."""
    found = read_instance(data)
    return str(found.instance) if found else None


def write_instance(data: DataDirectory, instance: Instance) -> Instance:
    publish(data.instance, msgspec.json.encode(instance) + b"\n")
    return instance


def own_instance(data: DataDirectory) -> Instance:
    """Who a directory is; a new one if it has no id yet. Takes the lock of a publish to
    write that. Raises filelock's Timeout.
    """
    if (known := read_instance(data)) and known.tenure:
        return known
    make_directory(data.run, PRIVATE_DIRECTORY_MODE)
    with owner_lock(data.store_lock, LOCK_TIMEOUT_S):
        known = read_instance(data) or Instance(uuid.uuid4())
        return known if known.tenure else write_instance(data, msgspec.structs.replace(known, tenure=uuid.uuid4()))


def wants_takeover(data: DataDirectory, wanted: uuid.UUID) -> bool:
    """Whether a directory is empty, or a takeover of the `wanted` instance into it has
    not ended.
    """
    found = read_instance(data)
    return (found.is_taking_over and found.instance == wanted) if found else is_empty(data)


def is_empty(data: DataDirectory) -> bool:
    """Whether a directory has no event, and has published nothing."""
    return not (
        data.snapshot.exists()
        or data.store_note.exists()
        or was_published(data)
        or newest_part_generation(data)
        or active_segments(data)
        or sealed_segments(data)
    )


def check_instance(data: DataDirectory, wanted: uuid.UUID | None) -> None:
    """Raises OtherInstance where a directory is not the `wanted` one,
    TakeoverUnfinished and RestoreUnfinished.
    """
    found = read_instance(data)
    if wanted and (found is None or found.instance != wanted):
        raise OtherInstance(data, wanted, found.instance if found else None)
    if found and found.is_taking_over:
        raise TakeoverUnfinished
    if found and found.is_restoring:
        raise RestoreUnfinished
