"""Where the buckets of a report begin: quarters of an hour, hours, days, weeks, months,
quarters and years of a time zone. Pure.

A day has 23, 24 or 25 hours where clocks are changed, and a zone that crosses the date
line skips one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

Interval = Literal["none", "15m", "hour", "day", "week", "month", "quarter", "year"]
# The day on which a week begins, and how many days after Monday that is.
Week = Literal["monday", "sunday"]
WEEKDAY: dict[Week, int] = {"monday": 0, "sunday": 6}

_QUARTER = timedelta(minutes=15)
_HOUR = timedelta(hours=1)
# No zone has changed its clocks twice in less than 90 hours.
_DAY = timedelta(days=1)
# Intervals that begin on the first day of a month: how many of them.
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
# No bucket is longer, whatever is done to clocks or to the date line.
_LONGEST = {
    "15m": _QUARTER,
    "hour": _HOUR,
    "day": timedelta(days=3),
    "week": timedelta(days=9),
    "month": timedelta(days=33),
    "quarter": timedelta(days=94),
    "year": timedelta(days=368),
}


def bucket_starts(
    start: datetime, end: datetime, interval: Interval, zone: ZoneInfo, limit: int, week: Week = "monday"
) -> list[datetime]:
    """The first `limit` bucket starts before `end`, in UTC; the first is at or before
    `start`. Without an interval one bucket begins at `start`.
    """
    if interval == "none":
        return [start]
    if interval == "15m":
        starts = _quarter_starts(start, zone)
    elif interval == "hour":
        starts = _hour_starts(start, zone)
    else:
        starts = _day_starts(start, interval, zone, week)
    return list(islice(takewhile(lambda moment: moment < end, starts), limit))


def has_more_buckets(
    start: datetime, end: datetime, interval: Interval, zone: ZoneInfo, limit: int, week: Week = "monday"
) -> bool:
    """Whether there are more than `limit` bucket starts. Those of a time that is far
    too long are not made for this.
    """
    if interval != "none" and end - start > _LONGEST[interval] * limit:
        return True
    return len(bucket_starts(start, end, interval, zone, limit + 1, week)) > limit


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which a calendar day begins in a zone."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def is_calendar_day(start: datetime, end: datetime, zone: ZoneInfo) -> bool:
    """Whether `start` to `end` is one whole day of a zone."""
    day = start.astimezone(zone).date()
    return start == midnight(day, zone) and end == midnight(day + timedelta(days=1), zone)


def overlaps_utc_day(day: date, start: datetime, end: datetime) -> bool:
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begins < end and start < begins + timedelta(days=1)


def _quarter_starts(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    moment = start - _into_the_hour(start, zone) % _QUARTER
    while True:
        yield moment
        moment += _QUARTER


def _hour_starts(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """The clock of the zone is read once a day, and at each quarter of an hour only
    on a day on which it is changed: clocks changed by half an hour begin a new hour
    there.
    """
    moment = start - _into_the_hour(start, zone)
    yield moment
    while True:
        offset = _offset(moment, zone)
        full = moment + _HOUR - _into_the_hour(moment, zone)
        if _offset(full + _DAY, zone) == offset:
            hours = [full + _HOUR * n for n in range(_DAY // _HOUR + 1)]
        else:
            hours = [_next_hour(moment, zone)]
        yield from hours
        moment = hours[-1]


def _next_hour(moment: datetime, zone: ZoneInfo) -> datetime:
    """The next instant at which the clock shows a full hour, or is changed."""
    offset = _offset(moment, zone)
    moment += _QUARTER
    while _into_the_hour(moment, zone) and _offset(moment, zone) == offset:
        moment += _QUARTER
    return moment


def _into_the_hour(moment: datetime, zone: ZoneInfo) -> timedelta:
    local = moment.astimezone(zone)
    return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


def _day_starts(start: datetime, interval: Interval, zone: ZoneInfo, week: Week) -> Iterator[datetime]:
    day = start.astimezone(zone).date()
    if interval == "week":
        day -= timedelta(days=(day.weekday() - WEEKDAY[week]) % 7)
    if interval in _MONTHS:
        months = _MONTHS[interval]
        day = day.replace(month=(day.month - 1) // months * months + 1, day=1)
    moment = midnight(day, zone)
    while True:
        try:
            day = _next_day(day, interval)
        except (ValueError, OverflowError):  # the calendar ends here
            yield moment
            return
        following = midnight(day, zone)
        if following > moment:  # false for a day that the zone skipped
            yield moment
        moment = following


def _next_day(day: date, interval: Interval) -> date:
    if interval in _MONTHS:
        month = day.month - 1 + _MONTHS[interval]
        return day.replace(year=day.year + month // 12, month=month % 12 + 1)
    return day + timedelta(days=7 if interval == "week" else 1)
