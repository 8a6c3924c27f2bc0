"""What follows from the 72 hours by which an event may be late."""

from __future__ import annotations

from datetime import date

from shared.lateness import ARCHIVE_MIN_DAYS, DEDUPE_DAYS, LATENESS_MAX_MS, dedupe_window
from shared.timestamps import DAY_S, epoch_ms, utc_day

RECEIVED = epoch_ms("2026-11-22T00:00:00.000Z")
TODAY = utc_day(RECEIVED)


def test_two_lines_of_one_id_are_within_the_window() -> None:
    earliest = utc_day(RECEIVED - LATENESS_MAX_MS)
    latest = utc_day(RECEIVED + DAY_S * 1000 - 1)
    assert (TODAY - earliest).days == DEDUPE_DAYS
    assert {earliest, latest} <= dedupe_window([TODAY])


def test_retention_keeps_every_day_that_the_fold_of_a_late_event_reads() -> None:
    oldest = utc_day(RECEIVED - LATENESS_MAX_MS)
    read = [day for day in dedupe_window([oldest, TODAY]) if day <= TODAY]
    assert (TODAY - min(read)).days + 1 == ARCHIVE_MIN_DAYS


def test_window_is_of_each_day() -> None:
    assert len(dedupe_window([date(2026, 1, 1), date(2026, 1, 2)])) == 8


def test_window_ends_where_the_calendar_ends() -> None:
    assert dedupe_window([date(9999, 12, 31)]) == {date(9999, 12, day) for day in (28, 29, 30, 31)}
    assert dedupe_window([date(1, 1, 1)]) == {date(1, 1, day) for day in (1, 2, 3, 4)}
