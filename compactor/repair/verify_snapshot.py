"""Checks of `foldlog verify` on snapshots and records: are they intact, and consistent
with the files beside them?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compactor.repair.directory_check import parts_beyond_next
from compactor.repair.verify_finding import RUN_COMPACT, RUN_REBUILD, VerifyFinding
from shared.disk.layout import DataDirectory
from shared.erasures import pending_requests, progress_of
from shared.generations.load import LoadedSnapshot, SnapshotLost, find_snapshot, kept_generations
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot
from shared.segments.sealed import Segment


def check_snapshots(data: DataDirectory) -> tuple[list[VerifyFinding], Snapshot]:
    """The published snapshot and the kept ones are intact. Returns also the snapshot to
    verify the parts against; generation 0 if there is none.
    """
    name = data.snapshot.name
    try:
        found = find_snapshot(data)
    except SnapshotLost as error:
        found = LoadedSnapshot(Snapshot(), b"", error)
        finding = VerifyFinding(name, str(error), f"restore it from a backup, or {RUN_REBUILD}")
    else:
        problem = f"{found.damage}; generation {found.snapshot.generation} replaces it"
        finding = VerifyFinding(name, problem, f"{RUN_COMPACT}: it folds again what that generation has not folded")
    return [*([finding] if found.damage else []), *check_kept_snapshots(data)], found.snapshot


def check_kept_snapshots(data: DataDirectory) -> Iterator[VerifyFinding]:
    """Each kept snapshot could replace a damaged one."""
    for generation in kept_generations(data):
        path = data.kept_snapshot(generation)
        try:
            kept = decode_snapshot(path.read_bytes(), path)
            problem = None if kept.generation == generation else f"is of generation {kept.generation}"
        except (OSError, SnapshotDamaged) as error:
            problem = str(error)
        if problem:
            yield VerifyFinding(path.name, problem, "nothing: it is a fallback, and the next pass quarantines it")


def check_ledger(snapshot: Snapshot, segments: Sequence[Segment]) -> Iterator[VerifyFinding]:
    """No sequence number is missing between the last folded segment and the newest, and
    none that a fold found missing is still missing.
    """
    numbers: dict[str, set[int]] = {}
    for segment in segments:
        numbers.setdefault(segment.name.writer, set()).add(segment.name.sequence)
    for writer, present in numbers.items():
        folded = snapshot.folded.get(writer, 0)
        for number in sorted({*range(folded + 1, max(present) + 1)} - present):
            yield _missing_segment(writer, number, "is missing and was not folded", "restore it from a backup")
    for writer, gaps in snapshot.missing.items():
        for number in gaps:
            if number not in numbers.get(writer, ()):
                problem = "was missing when later segments were folded"
                yield _missing_segment(writer, number, problem, "restore it; it will be folded")


def _missing_segment(writer: str, number: int, problem: str, action: str) -> VerifyFinding:
    return VerifyFinding(f"log/*-{writer}-{number:010d}.ndjson", problem, action)


def check_totals(data: DataDirectory, snapshot: Snapshot) -> Iterator[VerifyFinding]:
    """P8 in the snapshot: every folded line is accounted for."""
    totals = snapshot.totals
    if totals.lines != totals.accounted:
        problem = (
            f"{totals.lines} lines were folded, but {totals.counted} counted, {totals.duplicates} duplicates, "
            f"{totals.quarantined} quarantined, {totals.erased} erased and {totals.set_aside} set aside add up to "
            f"{totals.accounted}"
        )
        yield VerifyFinding(data.snapshot.name, problem, RUN_REBUILD)


def check_later_parts(data: DataDirectory, snapshot: Snapshot) -> Iterator[VerifyFinding]:
    """No part is of a later generation than the next: a killed pass leaves only parts
    of the next one.
    """
    later = list(parts_beyond_next(data, snapshot))
    if later:
        count = f"and {len(later) - 1} more are" if len(later) > 1 else "is"
        problem = f"{count} of a later generation than snapshot.json, as in a copy of a running directory"
        action = f"{RUN_REBUILD}: it counts the events of all parts and of the log"
        yield VerifyFinding(str(later[0].relative_to(data.root)), problem, action)


def check_erasures(data: DataDirectory) -> Iterator[VerifyFinding]:
    """No erasure is unfinished: the log might still contain a visitor whom the snapshot
    does not count any more.
    """
    for request in pending_requests(data):
        started, completed = progress_of(data, request.request)
        if started and not completed:
            path = data.erasure_request(request.request).relative_to(data.root)
            yield VerifyFinding(str(path), "an erasure is not finished", RUN_COMPACT)
