"""Which segments a pass folds, and the ledger afterwards: pure functions of snapshot
and listing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from compactor.fold.verify_segments import Piece
from shared.disk.layout import SegmentName
from shared.generations.snapshot import Snapshot
from shared.segments.sealed import Segment

PASS_MAX_BYTES = 256 << 20


def pass_max_bytes(fold_memory: int) -> int:
    """How many bytes of lines a pass takes. Their tables fit into FOLDLOG_FOLD_MEMORY:
    spilling what does not fit costs a fold more than the passes that it saves.
    """
    # With the least memory two segments of 64 MiB, which are sealed once they have it.
    return min(PASS_MAX_BYTES, fold_memory * 9 // 16)


class Ledger(NamedTuple):
    """The fields of the snapshot that say what of the log is folded."""

    folded: dict[str, int]
    missing: dict[str, tuple[int, ...]]
    partial: dict[str, int]


def select_segments(
    snapshot: Snapshot, sealed: Iterable[Segment], max_bytes: int, waiting: Container[str] = ()
) -> list[Piece]:
    """The next segments that the ledger has not passed, oldest first: at least one, and
    in total at most `max_bytes` of lines. Those with a stem in `waiting` are left out.

    Of a segment that is partly folded it is the rest.
    """
    chosen: list[Piece] = []
    total = 0
    for segment in sorted(sealed, key=lambda segment: (segment.name.sealed_at, segment.name)):
        if snapshot.has_passed(segment.name) or (waiting and segment.name.stem in waiting):
            continue
        piece = rest_of(snapshot, segment)
        total += piece.plain_bytes
        if chosen and total > max_bytes:
            break
        chosen.append(piece)
    return chosen


def rest_of(snapshot: Snapshot, segment: Segment) -> Piece:
    """What of a segment the ledger has not passed yet."""
    return Piece(segment, snapshot.partial.get(segment.name.stem, 0) if snapshot.partial else 0)


def ledger_after(snapshot: Snapshot, passed: Mapping[SegmentName, int | None]) -> Ledger:
    """The ledger once these segments are folded or set aside, up to a byte or wholly
    (None): per writer the highest sequence number, and the gaps below it.
    """
    highest = dict(snapshot.folded)
    missing = {writer: set(gaps) for writer, gaps in snapshot.missing.items()}
    partial = {**snapshot.partial, **{name.stem: end for name, end in passed.items() if end is not None}}
    for name in sorted(name for name, end in passed.items() if end is None):
        partial.pop(name.stem, None)
        before = highest.get(name.writer, 0)
        gaps = missing.setdefault(name.writer, set())
        gaps |= set(range(before + 1, name.sequence))
        gaps.discard(name.sequence)
        highest[name.writer] = max(before, name.sequence)
    return Ledger(highest, {writer: tuple(sorted(gaps)) for writer, gaps in missing.items() if gaps}, partial)
