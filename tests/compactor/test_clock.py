"""The wall clock jumps: passes continue, nothing is deleted because of it, and events
stay on their day (P9).
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.segments.sealed import sealed_segments
from shared.timestamps import epoch_ms
from tests.builders.logs import data_directory, fold, line, sealed

HOUR_S = 3_600
DAY_S = 86_400

# When an event happened, and the UTC day that it belongs to.
MOMENTS = {
    "the epoch": ("1970-01-01T00:00:00.000Z", "1970-01-01"),
    "before midnight": ("2026-11-22T23:59:59.999Z", "2026-11-22"),
    "midnight": ("2026-11-23T00:00:00.000Z", "2026-11-23"),
    "leap day": ("2028-02-29T23:59:59.999Z", "2028-02-29"),
    "after the leap day": ("2028-03-01T00:00:00.000Z", "2028-03-01"),
    "no leap day": ("2100-02-28T23:59:59.999Z", "2100-02-28"),
    "clocks go forward": ("2027-03-28T01:30:00.000Z", "2027-03-28"),
    "clocks go back": ("2027-10-31T00:30:00.000Z", "2027-10-31"),
    "the last second of 32 bits": ("2038-01-19T03:14:07.999Z", "2038-01-19"),
    "the second after it": ("2038-01-19T03:14:08.000Z", "2038-01-19"),
}


def test_event_is_counted_on_its_utc_day_whatever_the_day(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    moments = [epoch_ms(moment) for moment, _ in MOMENTS.values()]
    sealed(data, [line(f"event-{number:04d}", moment) for number, moment in enumerate(moments)])
    done = fold(data, max(moments), timezone="Europe/Berlin")
    found = {day.isoformat(): sum(part.rows for part in kept.archive) for day, kept in done.snapshot.days.items()}
    days = [day for _, day in MOMENTS.values()]
    assert found == {day: days.count(day) for day in days}


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S, -DAY_S, DAY_S])
def test_small_jump_deletes_nothing_in_any_number_of_passes(tmp_path: Path, jump_s: int) -> None:
    data = data_directory(tmp_path)
    segment = sealed(data, [line("event-0001", int(time.time() * 1000))])
    now = int(segment.sealed_at.timestamp() * 1000)
    for seconds in (0, 60, jump_s, jump_s + 60, jump_s + 120, 180):
        done = fold(data, now + seconds * 1000, log_retention_days=2)
    assert done.snapshot.totals.counted == 1
    assert [found.name for found in sealed_segments(data)] == [segment]
