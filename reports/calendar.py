"""Where the buckets of a report begin: quarters of an hour, hours, days, weeks and
months of a time zone. Pure.

A day has 23, 24 or 25 hours where clocks are changed, and a zone that crosses the date
line skips one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

Interval = Literal["none", "15m", "hour", "day", "week", "month"]

_QUARTER = timedelta(minutes=15)


def bucket_starts(start: datetime, end: datetime, interval: Interval, zone: ZoneInfo, limit: int) -> list[datetime]:
    """The first `limit` bucket starts before `end`, in UTC; the first is at or before
    `start`. Without an interval one bucket begins at `start`.
    """
    if interval == "none":
        return [start]
    if interval in {"15m", "hour"}:
        starts = _clock_starts(start, 15 if interval == "15m" else 60, zone)
    else:
        starts = _day_starts(start, interval, zone)
    return list(islice(takewhile(lambda moment: moment < end, starts), limit))


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


def _clock_starts(start: datetime, minutes: int, zone: ZoneInfo) -> Iterator[datetime]:
    local = start.astimezone(zone)
    moment = start - timedelta(minutes=local.minute % minutes, seconds=local.second, microseconds=local.microsecond)
    while True:
        yield moment
        moment = _next_quarter_or_hour(moment, minutes, zone)


def _next_quarter_or_hour(moment: datetime, minutes: int, zone: ZoneInfo) -> datetime:
    """The next instant at which the local clock shows a full quarter or hour, or is
    changed: clocks changed by half an hour begin a new hour there.
    """
    previous, moment = moment, moment + _QUARTER
    while minutes == 60 and (local := moment.astimezone(zone)).minute:
        if local.utcoffset() != previous.astimezone(zone).utcoffset():
            break
        previous, moment = moment, moment + _QUARTER
    return moment


def _day_starts(start: datetime, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    day = start.astimezone(zone).date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    if interval == "month":
        day = day.replace(day=1)
    while True:
        moment = midnight(day, zone)
        day = _next_day(day, interval)
        if midnight(day, zone) > moment:  # false for a day that the zone skipped
            yield moment


def _next_day(day: date, interval: Interval) -> date:
    if interval == "month":
        return (day + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 if interval == "week" else 1)
