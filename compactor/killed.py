"""Counting the failure of a process that was killed while it folded or merged: it could
not do so itself.
"""

from __future__ import annotations

from typing import NamedTuple

from compactor.begun import Begun, take_begun
from compactor.fold.select_segments import PASS_MAX_BYTES
from compactor.lock import CompactorLock
from compactor.pass_over import note_failed_merge, note_try
from compactor.tries import Failing, write_tries
from shared.disk.layout import DataDirectory
from shared.log import Log

REDUCED_MIN_BYTES = 1 << 20
ENDED_FOLDING = "the process ended while folding it"
ENDED_MERGING = "the process ended while merging it"


class Careful(NamedTuple):
    """What the passes of a round avoid: more than so many bytes at once, where it is
    unknown which of several segments it was; or retention (`keeps_all`).
    """

    max_bytes: int = PASS_MAX_BYTES
    keeps_all: bool = False


def reduced_bytes(total: int) -> int:
    """How many bytes a pass may fold after one that failed with `total`."""
    return total // 4 if total > REDUCED_MIN_BYTES else 1


def count_killed(
    data: DataDirectory, log: Log, lock: CompactorLock, failing: dict[str, Failing], now_ms: int
) -> Careful:  # fmt: skip
    """Count, in `failing` or in the snapshot, what the last process was killed at, if
    it was. Raises CommitLost.
    """
    killed = take_begun(data)
    if killed is None:
        return Careful()
    day = str(killed.merging) if killed.merging else None
    log.warning("pass_killed", segments=killed.segments[:3], day=day)
    if killed.merging is not None:
        note_failed_merge(data, lock, killed.merging, ENDED_MERGING, now_ms)
    elif killed.again is not None:
        note_try(data, lock, killed.again, ENDED_FOLDING, now_ms)
    elif len(killed.segments) > 1:
        return Careful(max_bytes=reduced_bytes(killed.bytes))
    elif killed.segments:
        _count_segment(data, failing, killed)
    return Careful(keeps_all=killed.is_retaining)


def _count_segment(data: DataDirectory, failing: dict[str, Failing], killed: Begun) -> None:
    (stem,) = killed.segments
    known = failing.get(stem)
    days, tries = (known.days, known.tries) if known and known.start == killed.start else ((), 0)
    failing[stem] = Failing(killed.start, killed.size, days, tries + 1, ENDED_FOLDING, killed=True)
    write_tries(data, failing)
