"""How late an event may arrive, and what follows from it.

An event is accepted up to LATENESS_H hours after it happened (P7). A client may
therefore send the same id again for that long, with a time on another day: 72 hours
cross at most three midnights. The fold compares each event with the archive of the days
around its own, and the oldest day that can get an event needs those before it, too:
with today these are seven days, and retention keeps at least as many.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

LATENESS_H = 72
LATENESS_MAX_MS = LATENESS_H * 3_600_000
DEDUPE_DAYS = -(-LATENESS_H // 24)
ARCHIVE_MIN_DAYS = DEDUPE_DAYS + DEDUPE_DAYS + 1
_FIRST, _LAST = date.min.toordinal(), date.max.toordinal()


def dedupe_window(days: Iterable[date]) -> set[date]:
    """The UTC days on which another event with the id of one of these days may have
    been counted. An imported line may have the last day of the calendar.
    """
    numbers = {day.toordinal() + shift for day in days for shift in range(-DEDUPE_DAYS, DEDUPE_DAYS + 1)}
    return {date.fromordinal(number) for number in numbers if _FIRST <= number <= _LAST}
