"""Takeover: an empty directory continues an instance where the last one ended. What is
published comes from the store, and so does what was acknowledged since.

`instance.json` says from the first step to the last that it has not ended. One that was
killed begins again, on a directory that is cleared first.
"""

from __future__ import annotations

import shutil
import socket
import uuid
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from compactor.claims.claim import Host, open_host
from compactor.claims.known_claims import open_known_claims
from compactor.claims.note import StoreNote, write_note
from compactor.claims.takeover import begin_takeover
from compactor.context import PassContext, pass_context
from compactor.lock import CompactorLock
from compactor.takeover.fetch_parts import Held, fetch_parts, held_generation, publish_snapshot
from shared.disk.durable import make_data_directory, remove
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.settings import Settings
from shared.stores.instance import Instance, NotEmpty, OtherInstance, read_instance, wants_takeover, write_instance
from shared.stores.ledger import StoreUnavailable
from shared.stores.log_segments import restore_segments
from shared.stores.postgres.connection import store_name
from shared.stores.postgres.log_rows import begin_tenure, log_rows, unfolded_names, unfolded_numbers
from shared.stores.postgres.migrate import migrated

if TYPE_CHECKING:
    from psycopg import Connection

# A host that still lives may publish while its parts are fetched.
TRIES = 5
# Of FOLDLOG_FOLD_MEMORY, beside the database that makes the indexes of ids.
MEMORY_SHARE = 4


class Takeover(NamedTuple):
    """What came from the store: a generation (0: none), parts, and segments with how
    many lines. `is_new`: the store did not know the instance.
    """

    instance: UUID
    generation: int
    segments: int
    lines: int
    is_new: bool = False


def take_over(
    data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, wanted: UUID, now_ms: int
) -> Takeover:
    """Make an empty directory the `wanted` instance. Raises OtherInstance, NotEmpty,
    StoreUnavailable and StoreRefused.
    """
    own = _begin(data, wanted)
    with migrated(settings.store) as connection:
        if held_generation(connection, wanted, store_name(settings.store)) is None:
            done = _begin_instance(connection, settings, own)
        else:
            with pass_context(data, settings, log, lock, now_ms) as context:
                done = _continue_instance(context, connection, own)
    write_instance(data, replace(own, is_taking_over=False))
    log.info("instance_taken", **done._asdict() | {"instance": str(done.instance)})
    return done


def _begin(data: DataDirectory, wanted: UUID) -> Instance:
    """Note that the takeover has begun, under a tenure of its own, in an empty
    directory.
    """
    found = read_instance(data)
    if not wants_takeover(data, wanted):
        if found and found.instance == wanted:
            raise NotEmpty(data, wanted)
        raise OtherInstance(data, wanted, found.instance if found else None)
    own = write_instance(data, Instance(wanted, uuid.uuid4(), is_taking_over=True))
    if found:  # one that was killed: it may have left what another host has published meanwhile
        for folder in (data.log, *data.part_folders):
            shutil.rmtree(folder, ignore_errors=True)
        remove([data.snapshot, data.store_note])
        make_data_directory(data)
    return own


def _begin_instance(connection: Connection, settings: Settings, own: Instance) -> Takeover:
    assert own.tenure is not None  # noqa: S101 - `_begin` made one
    if not begin_tenure(connection, own.instance, own.tenure, socket.gethostname(), settings.timezone):
        raise StoreUnavailable(store_name(settings.store), "another host takes this instance over")
    return Takeover(own.instance, 0, 0, 0, is_new=True)


def _continue_instance(context: PassContext, connection: Connection, own: Instance) -> Takeover:
    data, settings, name = context.data, context.settings, store_name(context.settings.store)
    with own_spill(data) as spill:
        memory_bytes = settings.fold_memory // MEMORY_SHARE
        with open_known_claims(data.known_claims, memory_bytes, spill) as database:
            held, note = _become(open_host(data, database, connection, own.instance, name), own)
    segments, lines = restore_log(data, connection, own.instance, held.snapshot)
    write_note(data, note)
    if held.content:
        publish_snapshot(context, held)
    return Takeover(own.instance, held.generation, segments, lines)


def _become(host: Host, own: Instance) -> tuple[Held, StoreNote]:
    """Fetch what is published, and make the store take this directory for the
    instance.
    """
    assert own.tenure is not None  # noqa: S101 - `_begin` made one
    for _ in range(TRIES):
        held = held_generation(host.connection, host.instance, host.name)
        if held is None or not fetch_parts(host.connection, host.data, host.instance, held.snapshot, host.name):
            continue
        if note := begin_takeover(host, held.snapshot, held.sha256, own.tenure):
            return held, note
    raise StoreUnavailable(host.name, "its parts are missing, or change all the time: `foldlog store check` shows more")


def restore_log(data: DataDirectory, connection: Connection, instance: UUID, published: Snapshot) -> tuple[int, int]:
    """Seal what was acknowledged and is not in the published generation. Returns how
    many segments and lines.
    """
    numbers = unfolded_numbers(published)
    rows = (
        row
        for row in log_rows(connection, instance)
        if row.sequence > published.folded.get(row.writer, 0) or row.sequence in numbers.get(row.writer, ())
    )
    sealed_at = {(name.writer, name.sequence): name.sealed_at for name in unfolded_names(published)}
    restored = list(restore_segments(data, rows, sealed_at))
    return len(restored), sum(each.lines for each in restored)
