"""Which parts of a day a pass writes together with its new rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shared.generations.snapshot import Part

TIER_PARTS = 8


def parts_to_absorb(parts: Sequence[Part], new_rows: int) -> list[Part]:
    """The parts of a size that has become too common.

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


def _tier(rows: int) -> int:
    return int(math.log(max(rows, 1), TIER_PARTS))
