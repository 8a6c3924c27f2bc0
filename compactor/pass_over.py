"""Publishing a generation whose ledger passes lines that cannot be folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date

import msgspec

from compactor.fold.select_segments import ledger_after
from compactor.fold.set_aside import build, entry_of, merged
from compactor.fold.verify_segments import Piece, extent_of, lines_of
from compactor.generations.commit import commit
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.generations.merge_failure import with_failure
from compactor.lock import CompactorLock
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import SetAside, Snapshot
from shared.log import Log
from shared.segments.sealed import Segment
from shared.timestamps import rfc3339


def pass_over(data: DataDirectory, log: Log, lock: CompactorLock, piece: Piece, now_ms: int) -> None:
    """Set all lines of a piece aside. Raises CommitLost and OSError."""
    before = load_or_restore_snapshot(data, log, lock)
    extent = extent_of(piece)
    ledger = ledger_after(before, {piece.segment.name: extent.end})
    totals = before.totals
    after = msgspec.structs.replace(
        before,
        folded=ledger.folded,
        missing=ledger.missing,
        partial=ledger.partial,
        set_aside=merged((*before.set_aside, entry_of(piece, extent.lines, extent.bytes))),
        totals=msgspec.structs.replace(
            totals, lines=totals.lines + extent.lines, set_aside=totals.set_aside + extent.lines
        ),
    )
    _publish(data, lock, before, after, now_ms)


def note_try(data: DataDirectory, lock: CompactorLock, entry: SetAside, reason: str, now_ms: int) -> None:
    """Note in the ledger that an entry was tried again in vain. Raises CommitLost."""
    before = load_snapshot(data)
    tried = msgspec.structs.replace(entry, reason=reason, tries=entry.tries + 1, version=build())
    entries = merged([tried if each == entry else each for each in before.set_aside])
    _publish(data, lock, before, msgspec.structs.replace(before, set_aside=entries), now_ms)


def note_failed_merge(data: DataDirectory, lock: CompactorLock, day: date, reason: str, now_ms: int) -> None:
    """Note in the snapshot that the merge of a day failed, and its pass with it. Raises
    CommitLost.
    """
    before = load_snapshot(data)
    if (kept := before.days.get(day)) is not None:
        days = {**before.days, day: with_failure(kept, reason, now_ms)}
        _publish(data, lock, before, msgspec.structs.replace(before, days=days), now_ms)


def widen_entries(
    before: Snapshot, current: Snapshot, segments: Iterable[Segment], is_erased: Callable[[bytes], bool]
) -> Snapshot:
    """The next generation, ready for an erasure of these lines of these segments: it
    moves lines of which the ledger knows the place, so an entry of a part of a segment
    becomes one of all its bytes, without the erased lines.

    A retry finds again what was folded, as duplicates. Of an entry that is one of all
    bytes, or of one day, it finds out what was erased.
    """
    by_stem = {segment.name.stem: segment for segment in segments}
    entries, erased = [], 0
    for entry in current.set_aside:
        widened = _widened(entry, by_stem.get(entry.segment), is_erased)
        erased += entry.lines - widened.lines
        entries += [widened] if widened.lines else []
    if tuple(entries) == current.set_aside:
        return current
    old = current.totals
    totals = msgspec.structs.replace(old, set_aside=old.set_aside - erased, erased=old.erased + erased)
    generation = before.generation + 1
    return msgspec.structs.replace(current, set_aside=tuple(entries), totals=totals, generation=generation)


def _widened(entry: SetAside, segment: Segment | None, is_erased: Callable[[bytes], bool]) -> SetAside:
    if segment is None:
        return entry
    size = extent_of(Piece(segment)).bytes
    if entry.start == 0 and entry.bytes >= size:
        return entry
    piece = Piece(segment, entry.start, entry.bytes)
    erased = 0 if entry.day else sum(is_erased(line.content) for line, _ in lines_of(piece))
    return msgspec.structs.replace(entry, start=0, bytes=size, lines=entry.lines - erased)


def _publish(data: DataDirectory, lock: CompactorLock, before: Snapshot, after: Snapshot, now_ms: int) -> None:
    """`as_of` stays: no event is counted, and the clock guard compares with it."""
    as_of = before.as_of if before.generation else rfc3339(now_ms)
    after = msgspec.structs.replace(after, generation=before.generation + 1, as_of=as_of)
    commit(data, before, after, lock)
    prune_history(data, after)
