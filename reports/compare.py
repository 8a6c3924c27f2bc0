"""With what a report is compared: the time before it, or the same dates a year before.
Pure; docs/reports.md defines it.

Every edge of a bucket is moved alike, so that each row is compared with its own part of
the earlier time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from reports.calendar import midnight
from reports.query_error import QueryError

Compare = Literal["previous", "year"]

_QUARTER = timedelta(minutes=15)
_FIRST_YEAR = 1970
_Move = Callable[[datetime], datetime]


@dataclass(frozen=True)
class Compared:
    """The earlier time, in UTC; it is empty where `start` is not before `end`.
    `buckets`: for each bucket of the report where its counterpart begins, None where it
    has none.
    """

    kind: Compare
    start: datetime
    end: datetime
    buckets: tuple[datetime | None, ...]


def compared(
    kind: Compare, start: datetime, end: datetime, buckets: Sequence[datetime], zone: ZoneInfo, now: datetime
) -> Compared:
    """`buckets`: where those of the report begin. Of a time that is not over, only as
    much is compared as was over when the quarter of an hour of `now` ends. Raises
    QueryError.
    """
    over = _EPOCH + (now - _EPOCH) // _QUARTER * _QUARTER + _QUARTER
    try:
        move = _move(kind, start, end, zone)
        *starts, last = _rising([move(each) for each in (start, *buckets[1:], end)])
        end_of_all = min(last, move(min(max(over, start), end)))
    except (ValueError, OverflowError):
        raise QueryError("compare", f"there is nothing before {_FIRST_YEAR}") from None
    if starts[0].year < _FIRST_YEAR:
        raise QueryError("compare", f"there is nothing before {_FIRST_YEAR}")
    found = (each if each < min(after, end_of_all) else None for each, after in pairwise((*starts, last)))
    return Compared(kind, starts[0], end_of_all, tuple(found))


_EPOCH = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)


def _move(kind: Compare, start: datetime, end: datetime, zone: ZoneInfo) -> _Move:
    if kind == "year":
        return lambda moment: _by_clock(moment, zone, _year_before)
    first, behind = (moment.astimezone(zone).date() for moment in (start, end))
    if (midnight(first, zone), midnight(behind, zone)) == (start, end):
        return lambda moment: _by_clock(moment, zone, lambda local: local - (behind - first))
    return lambda moment: moment - (end - start)


def _by_clock(moment: datetime, zone: ZoneInfo, move: _Move) -> datetime:
    """When the clock of the zone shows what `move` makes of its time."""
    local = moment.astimezone(zone)
    return move(local.replace(tzinfo=None)).replace(tzinfo=zone, fold=local.fold).astimezone(UTC)


def _year_before(local: datetime) -> datetime:
    """29 February becomes the beginning of 1 March."""
    if (local.month, local.day) == (2, 29):
        return datetime(local.year - 1, 3, 1)  # noqa: DTZ001  the clock of the zone
    return local.replace(year=local.year - 1)


def _rising(moments: Sequence[datetime]) -> list[datetime]:
    """Where the clock was put forward, times that it did not show are later instants
    than those that followed.
    """
    rising = list(moments)
    for place in range(len(rising) - 2, -1, -1):
        rising[place] = min(rising[place], rising[place + 1])
    return rising
