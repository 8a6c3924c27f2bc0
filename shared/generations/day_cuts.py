"""Where counters by day cut a UTC day: at the midnights of a time zone, so that they
answer for whole calendar days of that zone as well as for whole UTC days.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

# Days whose neighbours in every zone are dates, too.
_FIRST, _LAST = date.min + timedelta(days=2), date.max - timedelta(days=2)


@lru_cache(maxsize=4096)
def day_cuts(day: date, zone: str) -> tuple[datetime, ...]:
    """The instants in a UTC day, in UTC and in order, at which a row of counters may
    begin: its own midnight, and those of the zone.
    """
    if zone == "UTC" or not _FIRST < day < _LAST:
        return (utc_midnight(day),)
    begin, end = utc_midnight(day), utc_midnight(day) + timedelta(days=1)
    return tuple(sorted({begin, *(moment for moment in _midnights(begin, ZoneInfo(zone)) if begin < moment < end)}))


def cut_spans(day: date, zone: str) -> list[tuple[datetime, datetime]]:
    """The parts of a UTC day between its cuts: start and end (not included)."""
    cuts = day_cuts(day, zone)
    end = utc_midnight(day + timedelta(days=1)) if day < date.max else datetime.max.replace(tzinfo=UTC)
    return list(zip(cuts, (*cuts[1:], end), strict=True))


def utc_midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _midnights(begin: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """The midnights of a zone around one UTC day. Where clocks skip midnight, the first
    instant of the day.
    """
    local = begin.astimezone(zone).date()
    for shift in range(3):
        yield datetime.combine(local + timedelta(days=shift), time(), zone).astimezone(UTC)
