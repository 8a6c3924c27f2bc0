"""Which segments a pass folds, and the ledger afterwards: pure functions of snapshot
and listing.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.disk.layout import SegmentName
from shared.generations.snapshot import Snapshot
from shared.segments.sealed import Segment

PASS_MAX_BYTES = 256 << 20


def select_segments(snapshot: Snapshot, sealed: Iterable[Segment], max_bytes: int) -> list[Segment]:
    """The next unfolded segments, oldest first: at least one, and in total at most
    `max_bytes` of lines.
    """
    chosen: list[Segment] = []
    total = 0
    for segment in sorted(sealed, key=lambda segment: (segment.name.sealed_at, segment.name)):
        if snapshot.has_folded(segment.name):
            continue
        total += segment.plain_bytes
        if chosen and total > max_bytes:
            break
        chosen.append(segment)
    return chosen


def ledger_after(
    snapshot: Snapshot, folded: Iterable[SegmentName]
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """The snapshot's `folded` and `missing` once these segments are folded: per writer
    the highest sequence number, and the gaps below it.
    """
    highest = dict(snapshot.folded)
    missing = {writer: set(gaps) for writer, gaps in snapshot.missing.items()}
    for name in sorted(folded):
        before = highest.get(name.writer, 0)
        gaps = missing.setdefault(name.writer, set())
        gaps |= set(range(before + 1, name.sequence))
        gaps.discard(name.sequence)
        highest[name.writer] = max(before, name.sequence)
    return highest, {writer: tuple(sorted(gaps)) for writer, gaps in missing.items() if gaps}
