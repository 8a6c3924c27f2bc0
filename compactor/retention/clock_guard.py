"""Whether the clock is plausible. After a jump nothing is deleted (P9).

Pure functions of the last snapshot and the time now, both in UTC milliseconds.
"""

from __future__ import annotations

from shared.generations.snapshot import Snapshot
from shared.timestamps import DAY_S, epoch_ms, rfc3339

DAY_MS = DAY_S * 1000
# A standstill looks like a jump ahead, and one of a day or two must not stop deletion.
# An undetected jump of this length expires at most two days too many.
CLOCK_AHEAD_MAX_MS = 2 * DAY_MS
# Time synchronisation may step a correct clock back by this much. `foldlog doctor`
# warns at 60 s already; here 60 s would stop deletion for two days after a small step.
CLOCK_STEP_BACK_MAX_MS = 3600 * 1000
# How long the clock must run steadily after a jump: the time an operator gets to
# notice.
CLOCK_STEADY_MS = CLOCK_AHEAD_MAX_MS


def clock_anomaly(snapshot: Snapshot, now_ms: int) -> str | None:
    """Why this pass may delete nothing (P9), or None.

    The next pass compares the clock with the snapshot of this one, so a clock that
    jumped and then runs on looks correct to it. Therefore nothing is deleted until the
    clock has been steady for CLOCK_STEADY_MS.
    """
    if snapshot.generation == 0:
        return None
    last_ms = epoch_ms(snapshot.as_of)
    if now_ms < last_ms:
        return "the clock is behind the last snapshot"
    if now_ms > last_ms + CLOCK_AHEAD_MAX_MS:
        return "the clock is more than 48 hours ahead of the last snapshot"
    since = snapshot.retention.clock_suspect_since
    if since and now_ms < (steady_ms := epoch_ms(since) + CLOCK_STEADY_MS):
        return f"the clock jumped; if it stays steady, retention resumes at {rfc3339(steady_ms)}"
    return None


def clock_suspect_since(snapshot: Snapshot, now_ms: int) -> str | None:
    """When the clock jumped, by the clock after the jump; None once it has been steady
    for long enough. Recorded in every snapshot.
    """
    if snapshot.generation == 0:
        return None
    last_ms = epoch_ms(snapshot.as_of)
    if not last_ms - CLOCK_STEP_BACK_MAX_MS <= now_ms <= last_ms + CLOCK_AHEAD_MAX_MS:
        return rfc3339(now_ms)
    return snapshot.retention.clock_suspect_since if clock_anomaly(snapshot, now_ms) else None
