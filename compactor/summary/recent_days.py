"""The calendar days of FOLDLOG_TIMEZONE that a summary is about."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

from compactor.context import PassContext
from compactor.generations.archive import open_parts
from compactor.generations.counter_parts import stored_counters
from shared.generations.snapshot import Snapshot
from shared.generations.summary import SUMMARY_DAYS
from shared.settings import Settings
from shared.timestamps import utc_naive


@dataclass(frozen=True)
class RecentDays:
    """The last 35 days, the newest first: a place is a number of days before today.
    Instants are UTC without a zone.
    """

    today: date
    settings: Settings

    @cached_property
    def days(self) -> tuple[date, ...]:
        return tuple(self.today - timedelta(days=place) for place in range(SUMMARY_DAYS))

    @cached_property
    def starts(self) -> tuple[datetime, ...]:
        """Where the days begin, the oldest first, and where the newest ends."""
        days = (*reversed(self.days), self.today + timedelta(days=1))
        return tuple(utc_naive(datetime.combine(day, time(), self.settings.zone).astimezone(UTC)) for day in days)

    def place(self, moment: datetime) -> int | None:
        """The place of the day that an instant is in; None if it is none of them."""
        found = SUMMARY_DAYS - bisect_right(self.starts, moment)
        return found if 0 <= found < SUMMARY_DAYS else None

    def span(self, newest: int, oldest: int) -> tuple[datetime, datetime]:
        """Start and end (not included) of the days at these places."""
        return self.starts[SUMMARY_DAYS - 1 - oldest], self.starts[SUMMARY_DAYS - newest]

    def utc_days(self, snapshot: Snapshot, newest: int = 0, oldest: int = SUMMARY_DAYS - 1) -> list[date]:
        """The UTC days with events that overlap the days at these places."""
        start, end = self.span(newest, oldest)
        first, last = start.date(), (end - timedelta(microseconds=1)).date()
        days = (first + timedelta(days=after) for after in range((last - first).days + 1))
        return [day for day in days if day in snapshot.days]


def recent_days(context: PassContext) -> RecentDays:
    """As of the pass."""
    settings = context.settings
    return RecentDays(datetime.fromtimestamp(context.now_ms / 1000, settings.zone).date(), settings)


def counters_of(context: PassContext, snapshot: Snapshot, days: Iterable[date]) -> str:
    """SQL of the counters of UTC days, with COUNTER_COLUMNS. Raises PartDamaged."""
    opened = [each for day in days for each in open_parts(context.data, "counters", day, snapshot.days[day].counters)]
    return stored_counters(opened)
