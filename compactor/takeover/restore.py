"""Restoring: a directory that stands behind the store is filled again, as the same
instance, with what it has published; what only the directory has is folded once.

Everything is made ready beside the data first, and then the store takes this directory
for the instance. Until then nothing here has changed, and from then on the rest can be
done any number of times. `instance.json` says so while it has not ended.
"""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from compactor.absorb.note import read_absorb_note, unnamed
from compactor.claims.claim import Host, open_host
from compactor.claims.claims_table import ledger
from compactor.claims.known_claims import open_known_claims
from compactor.claims.note import StoreNote, place_of, read_note, with_outcome, write_note
from compactor.claims.standing import Standing, standing
from compactor.claims.takeover import begin_takeover
from compactor.context import PassContext, pass_context
from compactor.generations.history import purge_history
from compactor.lock import CompactorLock
from compactor.publishing.instance import publishing_lock
from compactor.takeover.fetch_parts import Held, fetch_parts, held_generation, publish_snapshot
from compactor.takeover.takeover import MEMORY_SHARE, TRIES, restore_log
from compactor.takeover.unpublished import days_of_lines, later_parts, renumbered, unpublished_segments, write_lines
from shared.disk.durable import hard_link, make_data_directory, publish, remove, sync_directory
from shared.disk.layout import DataDirectory, SegmentName, parse_segment
from shared.disk.listing import list_files
from shared.disk.spill import own_spill
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot, decode_snapshot
from shared.log import Log
from shared.segments.sealed import Segment, recorded_sha256, sealed_segments, sha256_line
from shared.settings import Settings
from shared.stores.address import is_postgres
from shared.stores.instance import Instance, read_instance, write_instance
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.connection import connected, store_name
from shared.stores.postgres.migrate import migrate_if_allowed
from shared.stores.store import stored_parts

if TYPE_CHECKING:
    from psycopg import Connection


class Restored(NamedTuple):
    """The generation that came from the store. `lines`: events that only this directory
    has, as lines that the next pass folds; `segments`: of its log, which it folds
    again.
    """

    instance: UUID
    generation: int
    lines: int
    segments: int


class Plan(msgspec.Struct, frozen=True):
    """The file `restore.json`. `renamed`: old and new names of segments."""

    note: StoreNote
    restored: Restored
    renamed: tuple[tuple[str, str], ...]


_PLAN = msgspec.json.Decoder(Plan)


def restore(data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int) -> Restored:
    """Put what the store has of this instance in place. Raises StoreUnavailable,
    StoreRefused, PartDamaged and SnapshotLost; then nothing has changed here.
    """
    own = read_instance(data)
    if not is_postgres(settings.store):
        raise StoreRefused("FOLDLOG_STORE", "is a store of this directory alone: the next publish puts it right")
    if own is None:
        raise StoreRefused(store_name(settings.store), "has nothing of this directory, which has never published")
    with (
        publishing_lock(data, store_name(settings.store)),
        connected(settings.store) as connection,
        pass_context(data, settings, log, lock, now_ms) as context,
    ):
        migrate_if_allowed(connection, settings.store)
        if not own.is_restoring:
            own = _make_ready(context, connection, own)
        done = _put_in_place(context, connection, own)
    log.info("instance_restored", **done._asdict() | {"instance": str(done.instance)})
    return done


def _make_ready(context: PassContext, connection: Connection, own: Instance) -> Instance:
    """Up to the step from which the restore goes on to its end."""
    data, settings = context.data, context.settings
    new = Instance(own.instance, uuid.uuid4(), is_restoring=True)
    with own_spill(data) as spill:
        memory_bytes = settings.fold_memory // MEMORY_SHARE
        with open_known_claims(data.known_claims, memory_bytes, spill) as database:
            host = open_host(data, database, connection, own.instance, store_name(settings.store))
            plan = _become(context, host, new)
    publish(data.restore_plan, msgspec.json.encode(plan))
    return write_instance(data, new)


def _become(context: PassContext, host: Host, own: Instance) -> Plan:
    """Fetch what is published, and make the store take this directory for the
    instance.
    """
    staged = context.data.restoring
    for _ in range(TRIES):
        note = _refuse_what_is_not_behind(host)
        shutil.rmtree(staged.root, ignore_errors=True)
        make_data_directory(staged)
        held = held_generation(host.connection, host.instance, host.name)
        if held is None or not fetch_parts(host.connection, staged, host.instance, held.snapshot, host.name):
            continue
        publish(staged.snapshot, held.content)
        done, renamed = _find_unpublished(context, host, own, held, note.generation)
        assert own.tenure is not None  # noqa: S101 - `_make_ready` made one
        if after := begin_takeover(host._replace(data=staged), held.snapshot, held.sha256, own.tenure):
            return Plan(after, done, renamed)
    raise StoreUnavailable(host.name, "its parts are missing, or change all the time: `foldlog store check` shows more")


def _refuse_what_is_not_behind(host: Host) -> StoreNote:
    """The note of this directory. Raises StoreRefused where the store has nothing for
    it.
    """
    row = ledger(host.connection).get(host.instance)
    if row is None or not row.generation:
        reason = f"has published nothing of this instance ({host.instance}): `foldlog store publish` fills it from here"
        raise StoreRefused(host.name, reason)
    if row.is_retired:
        reason = f"has retired this instance ({host.instance}): begin as another one, with an empty directory"
        raise StoreRefused(host.name, reason)
    note = with_outcome(read_note(host.data, host.store), row)
    if standing(place_of(row), note.place) is Standing.RENEW:
        raise StoreRefused(host.name, "is behind this directory: `foldlog store publish` fills it from here")
    return note


def _find_unpublished(
    context: PassContext, host: Host, own: Instance, held: Held, generation: int
) -> tuple[Restored, tuple[tuple[str, str], ...]]:
    """Write what only this directory has beside the published generation."""
    assert own.tenure is not None  # noqa: S101 - `_make_ready` made one
    data, local = context.data, load_snapshot(context.data)
    writer = f"restored_{own.tenure.hex[:12]}"
    segments, parts = unpublished_segments(data, local, held.snapshot), later_parts(local, generation)
    _refuse_closed_days(host, held.snapshot, {*parts, *days_of_lines(data, segments)})
    _refuse_absorbed(host, local, held.snapshot)
    _refuse_expired_events(host, local, held.snapshot, generation)
    made, lines = write_lines(context.database, data, parts, (data.restoring, held.snapshot), writer)
    renamed = tuple((old.stem, new.stem) for old, new in renumbered(segments, writer, made + 1))
    return Restored(own.instance, held.generation, lines, len(segments)), renamed


def _refuse_absorbed(host: Host, local: Snapshot, published: Snapshot) -> None:
    """What this directory has absorbed, and never published, the store counts as that
    instance. Raises StoreRefused.
    """
    here = (*(each.instance for each in local.absorbed_instances), *read_absorb_note(host.data).unsure)
    for each in unnamed(published, here):
        raise _not_told(host, f"does not have as this host's what this directory has absorbed of {each}, and events")


def _refuse_expired_events(host: Host, local: Snapshot, published: Snapshot, generation: int) -> None:
    """Events that were folded here after the last publish, and whose archive has
    expired since, are in no file any more. Raises StoreRefused.
    """
    for day, kept in sorted(local.days.items()):
        there = published.days.get(day)
        is_later = kept.expired and any(part.generation > generation for part in kept.counters)
        if is_later and (there is None or there.added_at != kept.added_at):
            raise _not_told(
                host,
                f"has {day} otherwise than this directory, which has deleted the archive of that day, and had events",
            )


def _refuse_closed_days(host: Host, published: Snapshot, days: set[object]) -> None:
    """Of a day whose archive is deleted no file says which ids count. Raises
    StoreRefused.
    """
    expired = {day for day, kept in published.days.items() if kept.expired}
    if closed := sorted(str(day) for day in days & (expired | published.dropped_days.keys())):
        raise _not_told(host, f"has no archive of {closed[0]} any more, and this directory has events of that day")


def _not_told(host: Host, reason: str) -> StoreRefused:
    return StoreRefused(
        host.name,
        f"{reason} of which it cannot be told whether they count. To do without them, move this directory away, and "
        f"type `foldlog store takeover` with FOLDLOG_INSTANCE={host.instance} and FOLDLOG_DATA_DIR on an empty "
        "directory",
    )


# --- from here on, each step can be done again


def _put_in_place(context: PassContext, connection: Connection, own: Instance) -> Restored:
    data, staged = context.data, context.data.restoring
    if not data.restore_plan.exists():  # killed when all was done
        return _end(data, own, Restored(own.instance, load_snapshot(data).generation, 0, 0))
    plan = _PLAN.decode(data.restore_plan.read_bytes())
    _move_log(data, plan)
    content = staged.snapshot.read_bytes()
    snapshot = decode_snapshot(content, staged.snapshot)
    restore_log(data, connection, own.instance, snapshot)
    for each in stored_parts(snapshot):
        path = staged.part(each.kind, each.day, each.part.generation)
        publish(data.part(each.kind, each.day, each.part.generation), path.read_bytes())
    remove([data.claim_outcome])
    write_note(data, plan.note)
    publish_snapshot(context, Held(snapshot.generation, plan.note.sha256, content, snapshot))
    purge_history(data, load_snapshot(data))
    remove([data.restore_plan])
    return _end(data, own, plan.restored)


def _end(data: DataDirectory, own: Instance, done: Restored) -> Restored:
    shutil.rmtree(data.restoring.root, ignore_errors=True)
    write_instance(data, replace(own, is_restoring=False))
    return done


def _move_log(data: DataDirectory, plan: Plan) -> None:
    """Add the lines that were made ready, and give segments their new names."""
    for path in sorted(list_files(data.restoring.log), reverse=True):  # the sha256 of each before it
        publish(data.log / path.name, path.read_bytes())
    new_names = {_name(old): _name(new) for old, new in plan.renamed}
    for segment in sealed_segments(data):
        if segment.name in new_names:
            _rename(segment, new_names[segment.name])


def _name(stem: str) -> SegmentName:
    name = parse_segment(f"{stem}.ndjson")
    assert name is not None  # noqa: S101 - it was made of one
    return name


def _rename(segment: Segment, name: SegmentName) -> None:
    log = segment.path.parent
    if sha256 := recorded_sha256(segment.checksum):
        publish(log / name.checksum, sha256_line(sha256, name.file))
    for path in segment.copies:
        hard_link(path, log / path.name.replace(segment.name.file, name.file))
    sync_directory(log)
    remove([*segment.copies, segment.checksum])
