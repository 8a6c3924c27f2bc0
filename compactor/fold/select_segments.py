"""What a pass will fold and merge, decided before it touches anything. Pure functions
of snapshot, listing and clock.

What it will delete is decided in expiry.py.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import date

from shared.disk.layout import SegmentName
from shared.generations.snapshot import Part, Snapshot
from shared.segments.sealed import Segment
from shared.timestamps import DAY_S, epoch_ms

PASS_MAX_BYTES = 256 << 20
TIER_PARTS = 8
SETTLED_SHARE = 0.9


def plan_segments(snapshot: Snapshot, sealed: Iterable[Segment], max_bytes: int) -> list[Segment]:
    """The next unfolded segments, per writer in sequence, up to `max_bytes` in all but
    at least one.
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
    """`folded` and `waiting` once these segments are folded: the highest number per
    writer, and the gaps below it.
    """
    highest = dict(snapshot.folded)
    waiting = {writer: set(gaps) for writer, gaps in snapshot.waiting.items()}
    for name in sorted(folded):
        before = highest.get(name.writer, 0)
        gaps = waiting.setdefault(name.writer, set())
        gaps |= set(range(before + 1, name.sequence))
        gaps.discard(name.sequence)
        highest[name.writer] = max(before, name.sequence)
    return highest, {writer: tuple(sorted(gaps)) for writer, gaps in waiting.items() if gaps}


def parts_to_merge(parts: Sequence[Part], new_rows: int) -> list[Part]:
    """The parts of a day to write together with its new rows: those of a size that has
    become too common.

    Sizes are in tiers of factor TIER_PARTS, so that a row is written again only once
    per tier, however many passes a day has.
    """
    if not new_rows:
        return []
    merged: list[Part] = []
    rows = new_rows
    while True:
        tier = _tier(rows)
        same = [part for part in parts if part not in merged and _tier(part.rows) <= tier]
        if len(same) < TIER_PARTS - 1:
            return merged
        merged += same
        rows += sum(part.rows for part in same)


def days_to_settle(snapshot: Snapshot, touched: Container[date], now_ms: int) -> Iterator[date]:
    """Days that nothing was added to for a day, and whose archive is in several parts
    of which none is nearly all of it.

    So an event that comes late does not have its whole day written again: a tenth of
    the day would have to.
    """
    for day, kept in sorted(snapshot.days.items()):
        rows = [part.rows for part in kept.archive]
        is_divided = len(rows) > 1 and max(rows) < SETTLED_SHARE * sum(rows)
        if is_divided and day not in touched and now_ms - epoch_ms(kept.added_at) >= DAY_S * 1000:
            yield day


def _tier(rows: int) -> int:
    return int(math.log(max(rows, 1), TIER_PARTS))
