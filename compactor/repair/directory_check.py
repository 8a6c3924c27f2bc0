"""What a copy of a running directory lacks, seen when the compactor starts.

A copy takes one directory after the other while passes go on. So its snapshot may name
parts that were made after the parts were copied, or that were gone before; and beside
them lie parts that no snapshot names, which may hold the same events, or events of
segments that are not in the copy. Nothing is deleted there before somebody said
`foldlog rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from compactor.generations.commit import CommitLost, assert_lock_held, quarantine_file, unused_generation
from compactor.generations.garbage import sweep_orphans
from compactor.generations.kept import kept_snapshots
from compactor.lock import CompactorLock
from shared.disk.durable import publishing, remove
from shared.disk.layout import DataDirectory, parse_day, parse_part
from shared.disk.listing import list_files
from shared.erasures import ErasureCompleted, ErasureStarted, read_records
from shared.exit_codes import UsageError
from shared.generations.load import find_snapshot, kept_generations, load_snapshot
from shared.generations.part_presence import missing_parts
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments


class CopyIncomplete(UsageError):
    """The snapshot and the parts beside it do not belong together. Says what to do
    next.
    """


def begin(data: DataDirectory, log: Log, lock: CompactorLock) -> None:
    """Make a directory ready for passes: remove what a killed pass left. Raises
    CopyIncomplete, and has deleted nothing then.

    Not beside a damaged snapshot: nobody can say what that one named, and the next pass
    replaces it.
    """
    found = find_snapshot(data)
    if found.damage:
        return
    missing = [*missing_parts(data, found.snapshot)]
    later = [*later_parts(data, found.snapshot)]
    if not missing and not later:
        _sweep(data, found.snapshot, log)
        return
    kept = None if later else earlier_without_loss(data, found.snapshot)
    if kept is None:
        raise CopyIncomplete(_complaint(data, found.snapshot, missing, later))
    after = go_back(data, found.snapshot, kept, lock)
    log.warning("parts_missing", parts=len(missing), went_back_to=kept.generation, generation=after.generation)


def sweep_leftovers(data: DataDirectory, snapshot: Snapshot, log: Log) -> None:
    """For a rebuild: remove what a killed pass or rebuild left, as `begin` does; it
    would be taken for parts of a copy.

    Twice so, and the parts of the second rebuild, if that is killed too, would be of a
    later generation.
    """
    if (
        any(newer_parts(data, snapshot))
        and not any(later_parts(data, snapshot))
        and not any(missing_parts(data, snapshot))
    ):
        _sweep(data, snapshot, log)


def _sweep(data: DataDirectory, snapshot: Snapshot, log: Log) -> None:
    if removed := sweep_orphans(data, snapshot):
        log.info("orphans_swept", parts=removed)


def _complaint(data: DataDirectory, snapshot: Snapshot, missing: list[Path], later: list[Path]) -> str:
    what = (
        f"{len(missing)} parts that {data.snapshot} names are not there, such as {missing[0]}"
        if missing
        else f"{later[0]} is of a later generation than {data.snapshot}, which is {snapshot.generation}"
    )
    return (
        f"{what}. This is a copy of a directory in which passes went on, or files were deleted, or a rebuild of damaged parts "
        "was killed more than once. Nothing was changed, and there are no passes until you run `foldlog rebuild`: it counts "
        "what the parts and the log here hold, and says what is gone."
    )


def later_parts(data: DataDirectory, snapshot: Snapshot) -> Iterator[Path]:
    """Archive parts that a pass after the next one has made: a pass that was killed
    leaves those of the next one only.
    """
    return _parts_above(data, snapshot.generation + 1)


def newer_parts(data: DataDirectory, snapshot: Snapshot) -> Iterator[Path]:
    """Archive parts that any pass after the snapshot has made."""
    return _parts_above(data, snapshot.generation)


def _parts_above(data: DataDirectory, generation: int) -> Iterator[Path]:
    for folder in list_files(data.archive):
        if parse_day(folder.name) is not None:
            yield from (path for path in list_files(folder) if (parse_part(path.name) or 0) > generation)


def earlier_without_loss(data: DataDirectory, current: Snapshot) -> Snapshot | None:
    """The newest kept snapshot whose parts are all there, if every segment is that only
    the current one has folded.

    None where it may hold a visitor who was erased since: that is for a person to know
    (`rebuild` says it).
    """
    for kept in kept_snapshots(data):
        if not any(missing_parts(data, kept)):
            if erased_since(data, kept.generation):
                return None
            on_disk = {(segment.name.writer, segment.name.sequence) for segment in sealed_segments(data)}
            return kept if folded_since(kept, current) <= on_disk else None
    return None


def erased_since(data: DataDirectory, generation: int) -> list[str]:
    """When visitors were erased whom a part of this generation may hold still, in
    order.

    Of an erasure that is not done, as a copy may have it, when it was asked for: nobody
    knows what it had replaced.
    """
    done: dict[str, ErasureCompleted] = {}
    begun: dict[str, ErasureStarted] = {}
    for record in read_records(data):
        if isinstance(record, ErasureCompleted):
            done[record.request] = record
        else:
            begun[record.request] = record
    since = [each.done_at for each in done.values() if each.generation > generation]
    return sorted([*since, *(each.asked_at for request, each in begun.items() if request not in done)])


def folded_since(earlier: Snapshot, later: Snapshot) -> set[tuple[str, int]]:
    """Writer and sequence of the segments that one snapshot has folded and an earlier
    one has not.
    """
    folded: set[tuple[str, int]] = set()
    for writer, highest in later.folded.items():
        numbers = {*range(earlier.folded.get(writer, 0) + 1, highest + 1), *earlier.waiting.get(writer, ())}
        folded |= {(writer, number) for number in numbers - {*later.waiting.get(writer, ())}}
    return folded


def go_back(data: DataDirectory, current: Snapshot, kept: Snapshot, lock: CompactorLock) -> Snapshot:
    """Publish a kept snapshot in the place of the current one, whose file goes to
    quarantine. Raises CommitLost.

    As in `commit.restore` its generation is one that nobody had.
    """
    after = msgspec.structs.replace(kept, generation=max(current.generation + 1, unused_generation(data)))
    with publishing(data.snapshot) as beside:
        beside.write_bytes(encode_snapshot(after))
        if load_snapshot(data).generation != current.generation:
            raise CommitLost(f"generation {current.generation} was replaced by another process")
        assert_lock_held(lock)
        quarantine_file(data, data.snapshot, f"snapshot.{current.generation}.json")
    return after


def forget_incomplete_spares(data: DataDirectory) -> None:
    """Remove kept snapshots that name parts which are not there: they could not take
    the place of a damaged one.
    """
    spares = {snapshot.generation: snapshot for snapshot in kept_snapshots(data)}
    incomplete = [
        number for number in kept_generations(data) if number in spares and any(missing_parts(data, spares[number]))
    ]
    remove(data.kept_snapshot(number) for number in incomplete)
