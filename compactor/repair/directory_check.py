"""Whether the snapshot and the parts of a directory belong together, checked when the
compactor starts.

A copy of a running directory takes one folder after the other while passes run. Its
snapshot may reference parts that were written after the parts were copied, or deleted
before. Beside them lie unreferenced parts, which may contain the same events, or events
of segments that are not in the copy. Nothing is deleted there until an operator runs
`foldlog rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from compactor.generations.commit import CommitLost, assert_lock_held, quarantine_file, unused_generation
from compactor.generations.garbage import sweep_orphans
from compactor.generations.kept import kept_snapshots
from compactor.lock import CompactorLock
from shared.disk.durable import make_data_directory, publishing, remove
from shared.disk.layout import DataDirectory, parse_day, parse_part
from shared.disk.listing import list_files
from shared.erasures import ErasureCompleted, ErasureStarted, read_records
from shared.exit_codes import UsageError
from shared.generations.load import find_snapshot, kept_generations, load_snapshot
from shared.generations.part_presence import missing_parts
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments


class InconsistentDirectory(UsageError):
    """The snapshot and the parts beside it do not belong together.

    `missing`: parts that the snapshot references and that are not there. `later`: parts
    of a generation that the snapshot cannot have left.
    """

    def __init__(self, snapshot: Path, generation: int, missing: Sequence[Path], later: Sequence[Path]) -> None:
        super().__init__(snapshot, generation, missing, later)
        self.snapshot = snapshot
        self.generation = generation
        self.missing = missing
        self.later = later

    def __str__(self) -> str:
        what = (
            f"{len(self.missing)} parts that {self.snapshot} references are missing, such as {self.missing[0]}"
            if self.missing
            else f"{self.later[0]} is of a later generation than {self.snapshot}, which is {self.generation}"
        )
        return (
            f"{what}. Either this is a copy of a directory in which passes were running, or files were deleted, or a "
            "rebuild of damaged parts was killed more than once. Nothing was changed, and no pass runs until you run "
            "`foldlog rebuild`: it counts the events in the parts and the log here, and reports what is lost."
        )


def check_directory(data: DataDirectory, log: Log, lock: CompactorLock) -> None:
    """Make a directory ready for passes: delete the orphans of a killed pass, or revert
    to a kept snapshot where that loses nothing. Raises InconsistentDirectory, and then
    has deleted nothing.

    Beside a damaged snapshot nothing is done: what it referenced is unknown, and the
    next pass replaces it.
    """
    make_data_directory(data)  # an earlier release made fewer folders
    found = find_snapshot(data)
    if found.damage:
        return
    missing = [*missing_parts(data, found.snapshot)]
    later = [*parts_beyond_next(data, found.snapshot)]
    if not missing and not later:
        _sweep(data, found.snapshot, log)
        return
    kept = None if later else lossless_fallback(data, found.snapshot)
    if kept is None:
        raise InconsistentDirectory(data.snapshot, found.snapshot.generation, missing, later)
    after = revert_to(data, found.snapshot, kept, lock)
    log.warning("parts_missing", parts=len(missing), went_back_to=kept.generation, generation=after.generation)


def sweep_leftovers(data: DataDirectory, snapshot: Snapshot, log: Log) -> None:
    """For a rebuild: delete the orphans of a killed pass or rebuild, as
    `check_directory` does.

    Without this, parts left by two interrupted rebuilds would be mistaken for parts of
    a newer generation.
    """
    if not any(parts_beyond(data, snapshot.generation)):
        return
    if not any(parts_beyond_next(data, snapshot)) and not any(missing_parts(data, snapshot)):
        _sweep(data, snapshot, log)


def _sweep(data: DataDirectory, snapshot: Snapshot, log: Log) -> None:
    if removed := sweep_orphans(data, snapshot):
        log.info("orphans_swept", parts=removed)


def parts_beyond_next(data: DataDirectory, snapshot: Snapshot) -> Iterator[Path]:
    """Archive parts of a later generation than the next one. A killed pass leaves only
    parts of the next one, so these are of a copy.
    """
    return parts_beyond(data, snapshot.generation + 1)


def parts_beyond(data: DataDirectory, generation: int) -> Iterator[Path]:
    """Archive parts of a later generation."""
    for folder in list_files(data.archive):
        if parse_day(folder.name) is not None:
            yield from (path for path in list_files(folder) if (parse_part(path.name) or 0) > generation)


def lossless_fallback(data: DataDirectory, current: Snapshot) -> Snapshot | None:
    """The newest kept snapshot whose parts are all present, if the log still has every
    segment that only the current one has folded; otherwise None.

    Also None if it may contain a visitor who was erased since: an operator must know
    (`rebuild` warns).
    """
    for kept in kept_snapshots(data):
        if any(missing_parts(data, kept)):
            continue
        if erased_since(data, kept.generation):
            return None
        on_disk = {(segment.name.writer, segment.name.sequence) for segment in sealed_segments(data)}
        return kept if folded_since(kept, current) <= on_disk else None
    return None


def erased_since(data: DataDirectory, generation: int) -> list[str]:
    """The times (RFC 3339, in order) of erasures whose visitor a part of this
    generation may still contain.

    An erasure that is not completed, as a copy may have it, counts with the time of its
    request: which parts it has replaced is unknown.
    """
    completed: dict[str, ErasureCompleted] = {}
    started: dict[str, ErasureStarted] = {}
    for record in read_records(data):
        if isinstance(record, ErasureCompleted):
            completed[record.request] = record
        else:
            started[record.request] = record
    since = [each.done_at for each in completed.values() if each.generation > generation]
    return sorted([*since, *(each.asked_at for request, each in started.items() if request not in completed)])


def folded_since(earlier: Snapshot, later: Snapshot) -> set[tuple[str, int]]:
    """Writer and sequence of the segments that the later snapshot has folded and the
    earlier one has not.
    """
    folded: set[tuple[str, int]] = set()
    for writer, highest in later.folded.items():
        numbers = {*range(earlier.folded.get(writer, 0) + 1, highest + 1), *earlier.missing.get(writer, ())}
        folded |= {(writer, number) for number in numbers - {*later.missing.get(writer, ())}}
    return folded


def revert_to(data: DataDirectory, current: Snapshot, kept: Snapshot, lock: CompactorLock) -> Snapshot:
    """Publish a kept snapshot instead of the current one, whose file is quarantined.
    Raises CommitLost.

    As when a damaged snapshot is replaced, the generation is one that was never used.
    """
    after = msgspec.structs.replace(kept, generation=max(current.generation + 1, unused_generation(data)))
    with publishing(data.snapshot) as beside:
        beside.write_bytes(encode_snapshot(after))
        if load_snapshot(data).generation != current.generation:
            raise CommitLost(f"generation {current.generation} was replaced by another process")
        assert_lock_held(lock)
        quarantine_file(data, data.snapshot, f"snapshot.{current.generation}.json")
    return after


def delete_unusable_fallbacks(data: DataDirectory) -> None:
    """Delete kept snapshots with missing parts: they could not replace a damaged
    one.
    """
    kept = {snapshot.generation: snapshot for snapshot in kept_snapshots(data)}
    unusable = [
        number for number in kept_generations(data) if number in kept and any(missing_parts(data, kept[number]))
    ]
    remove(data.kept_snapshot(number) for number in unusable)
