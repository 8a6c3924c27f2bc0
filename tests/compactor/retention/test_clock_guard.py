"""The clock guard: after a jump nothing is deleted until the clock has been steady
(P9).
"""

from __future__ import annotations

import pytest

from compactor.retention.clock_guard import clock_anomaly, clock_suspect_since
from shared.generations.snapshot import Retention, Snapshot
from shared.timestamps import rfc3339
from tests.builders.history import DAY_MS, HOUR_MS
from tests.builders.logs import NOON

# Milliseconds since the last pass, whether the clock was suspect then (and since when,
# in ms before that pass), whether deletion is allowed, and whether the clock is
# suspect.
ROWS = {
    "steady": (60_000, None, True, False),
    "two days ahead": (2 * DAY_MS, None, True, False),
    "more than two days ahead": (2 * DAY_MS + 1, None, False, True),
    "an hour behind": (-HOUR_MS, None, False, False),
    "more than an hour behind": (-HOUR_MS - 1, None, False, True),
    "steady, but not for long enough": (60_000, 0, False, True),
    "steady for 48 hours": (60_000, 2 * DAY_MS - 60_000, True, False),
}


@pytest.mark.parametrize(("after_ms", "suspect_ms", "is_allowed", "is_suspect"), ROWS.values(), ids=ROWS)
def test_jump_of_the_clock_stops_deletion(
    after_ms: int, suspect_ms: int | None, is_allowed: bool, is_suspect: bool
) -> None:
    since = None if suspect_ms is None else rfc3339(NOON - suspect_ms)
    snapshot = Snapshot(generation=1, as_of=rfc3339(NOON), retention=Retention(clock_suspect_since=since))
    assert (clock_anomaly(snapshot, NOON + after_ms) is None) == is_allowed
    assert (clock_suspect_since(snapshot, NOON + after_ms) is not None) == is_suspect


def test_first_pass_accepts_any_clock() -> None:
    assert clock_anomaly(Snapshot(), 0) is None
    assert clock_suspect_since(Snapshot(), 0) is None
