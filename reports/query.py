"""The question that a report answers, parsed from text. Pure: what comes out holds no
text that is not a bound value.

The same grammar serves the URL and the command line; docs/reports.md says what each
part means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo

from shared.exit_codes import UsageError
from shared.schema import DIMENSIONS

Interval = Literal["none", "15m", "hour", "day", "week", "month"]
Bots = Literal["exclude", "include", "only"]
Visitors = Literal["exact", "none"]

PARAMETERS = ("from", "to", "tz", "interval", "by", "event", "site", "filter", "limit", "bots", "visitors", "format")
LIMIT_DEFAULT = 100
LIMIT_MAX = 10_000
BUCKETS_MAX = 10_000
FILTERS_MAX = 20
PROPS = "props."

_CONDITION = re.compile(r"(?P<field>[a-z_]+|props\.[^=!]{1,100}?)(?P<operator>==|!=)(?P<value>.*)", re.DOTALL)


class QueryError(UsageError, ValueError):
    """A parameter that cannot be understood; the message names it and shows what would
    be.
    """

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}")
        self.parameter = parameter


@dataclass(frozen=True)
class Condition:
    """One part of a filter. An empty `value` stands for events that have none."""

    field: str
    equal: bool
    value: str


@dataclass(frozen=True)
class Query:
    """A report to make. Times are UTC and half open; `zone` says where days, weeks and
    months begin.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo
    interval: Interval = "none"
    by: str | None = None
    event: str | None = None
    site: str | None = None
    conditions: tuple[Condition, ...] = ()
    limit: int = LIMIT_DEFAULT
    bots: Bots = "exclude"
    visitors: Visitors = "exact"


def parse(given: Mapping[str, str], now: datetime, default_zone: str) -> Query:
    """Raises QueryError. Without `from` and `to`: the seven days that end today."""
    for name in given:
        if name not in PARAMETERS:
            raise QueryError(name, f"there is no such parameter; there are {', '.join(PARAMETERS)}")
    zone = _zone(given.get("tz") or default_zone)
    start, end = _span(given.get("from", ""), given.get("to", ""), now, zone)
    query = Query(
        start=start,
        end=end,
        zone=zone,
        interval=cast(Interval, _one_of("interval", given.get("interval") or "none", get_args(Interval))),
        by=_by(given.get("by", "")),
        event=given.get("event") or None,
        site=given.get("site") or None,
        conditions=tuple(_conditions(given.get("filter", ""))),
        limit=_limit(given.get("limit", "")),
        bots=cast(Bots, _one_of("bots", given.get("bots") or "exclude", get_args(Bots))),
        visitors=cast(Visitors, _one_of("visitors", given.get("visitors") or "exact", get_args(Visitors))),
    )
    if query.interval != "none" and len(edges(query)) > BUCKETS_MAX:
        raise QueryError(
            "interval", f"that makes more than {BUCKETS_MAX} rows; ask for a longer interval or a shorter time"
        )
    return query


def edges(query: Query) -> list[datetime]:
    """Where the buckets of `interval` begin, in UTC, the first at or before `start`.
    Days may have 23, 24 or 25 hours.
    """
    found: list[datetime] = []
    for edge in _edges_from(query.start, query.interval, query.zone):
        if edge >= query.end or len(found) > BUCKETS_MAX:
            break
        found.append(edge)
    return found


def _edges_from(start: datetime, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    local = start.astimezone(zone)
    if interval in {"15m", "hour"}:
        minutes = 15 if interval == "15m" else 60
        edge = start - timedelta(minutes=local.minute % minutes, seconds=local.second, microseconds=local.microsecond)
        while True:
            yield edge
            edge = _next_quarter_or_hour(edge, minutes, zone)
    day = local.date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    if interval == "month":
        day = day.replace(day=1)
    while True:
        edge = midnight(day, zone)
        day = _next(day, interval)
        if midnight(day, zone) > edge:  # a zone that crossed the date line skipped a day
            yield edge


def _next_quarter_or_hour(edge: datetime, minutes: int, zone: ZoneInfo) -> datetime:
    """The next time at which the clock of a zone shows a full quarter or hour, or is
    set.
    """
    quarter = timedelta(minutes=15)
    before, edge = edge, edge + quarter
    while minutes == 60 and edge.astimezone(zone).minute:
        if edge.astimezone(zone).utcoffset() != before.astimezone(zone).utcoffset():
            break  # clocks that are set by half an hour begin a new hour there
        before, edge = edge, edge + quarter
    return edge


def _next(day: date, interval: Interval) -> date:
    if interval == "month":
        return (day + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 if interval == "week" else 1)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which a calendar day begins in a zone."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise QueryError("tz", "a zone such as UTC, Europe/Berlin or America/New_York") from None


def _span(from_: str, to: str, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    today = now.astimezone(zone).date()
    end = _instant("to", to, zone, ends=True) if to else midnight(today + timedelta(days=1), zone)
    if from_:
        start = _instant("from", from_, zone, ends=False)
    else:
        start = midnight((end - timedelta(microseconds=1)).astimezone(zone).date() - timedelta(days=6), zone)
    if start >= end:
        raise QueryError("from", "must be before to")
    return start, end


def _instant(parameter: str, text: str, zone: ZoneInfo, *, ends: bool) -> datetime:
    try:
        if len(text) == 10 and 1970 <= (day := date.fromisoformat(text)).year < 9999:
            return midnight(day + timedelta(days=ends), zone)
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a URL arrives as a space
        if found.tzinfo is not None and 1970 <= found.year < 9999:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise QueryError(parameter, "a date such as 2026-11-22, or a time with a zone such as 2026-11-22T16:00:00Z")


def _one_of(parameter: str, given: str, allowed: tuple[str, ...]) -> str:
    if given not in allowed:
        raise QueryError(parameter, f"one of {', '.join(allowed)}")
    return given


def _by(given: str) -> str | None:
    if (
        given
        and given not in DIMENSIONS
        and not (given.startswith(PROPS) and len(PROPS) < len(given) <= len(PROPS) + 100)
    ):
        raise QueryError("by", f"one of {', '.join(DIMENSIONS)} or props.<key>")
    return given or None


def _limit(given: str) -> int:
    if given and not (given.isdecimal() and given.isascii() and len(given) < 9 and 1 <= int(given) <= LIMIT_MAX):
        raise QueryError("limit", f"a whole number from 1 to {LIMIT_MAX}")
    return int(given) if given else LIMIT_DEFAULT


def _conditions(given: str) -> Iterator[Condition]:
    parts = [part.replace("\\;", ";") for part in re.split(r"(?<!\\);", given) if part]
    if len(parts) > FILTERS_MAX:
        raise QueryError("filter", f"at most {FILTERS_MAX} conditions")
    for part in parts:
        match = _CONDITION.fullmatch(part)
        if match is None or not (match["field"] in DIMENSIONS or match["field"].startswith(PROPS)):
            raise QueryError(
                "filter", f"conditions such as path==/a;country!=DE, over {', '.join(DIMENSIONS)} or props.<key>"
            )
        yield Condition(match["field"], match["operator"] == "==", match["value"])
