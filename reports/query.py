"""The grammar of a report: parameters of a URL or a command line become a typed
`Query`. Pure.

Text in a `Query` is only ever used as a bound value. docs/reports.md defines the
parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, cast, get_args
from zoneinfo import ZoneInfo

from reports.calendar import WEEKDAY, Interval, Week, bucket_starts, has_more_buckets, midnight, overlaps_utc_day
from reports.compare import Compare, Compared, compared
from reports.dimensions import KEY_MAX, NAMES, PROPS, UNCOUNTED, has_key, is_computed
from reports.filters import VALUE, Condition, is_unicode, parse_filter
from reports.measures.names import DEFAULT, ENGAGED_MEASURES, VISIT_MEASURES, Measure, parse_measures
from reports.query_error import QueryError
from shared.sql.visits import COLUMNS_OF_VISITS, ENDS_OF_VISITS, NOT_OF_VISITS, VISIT_DIMENSIONS

Bots = Literal["exclude", "include", "only"]
# All hosts of the store, or this one.
Scope = Literal["all", "host"]

PARAMETERS = (
    "from",
    "to",
    "tz",
    "interval",
    "week",
    "by",
    "event",
    "site",
    "filter",
    "limit",
    "bots",
    "visitors",
    "measures",
    "compare",
    "format",
    "raw",
    "scope",
)
LIMIT_DEFAULT = 100
LIMIT_MAX = 10_000
BUCKETS_MAX = 10_000


@dataclass(frozen=True)
class Query:
    """A report to make. `start` and `end` are UTC, half open; days, weeks and months
    begin by the clock of `zone`. `scope`: None where it was not said. `compared`: the
    earlier time that is asked for besides.

    A question about an earlier time has `starts`, where its buckets begin, and
    `values`, the only ones of `by` that have a row.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo
    interval: Interval = "none"
    week: Week = "monday"
    by: str | None = None
    event: str | None = None
    site: str | None = None
    conditions: tuple[Condition, ...] = ()
    limit: int = LIMIT_DEFAULT
    bots: Bots = "exclude"
    measures: tuple[Measure, ...] = DEFAULT
    scope: Scope | None = None
    # FOLDLOG_TIMEZONE, at whose midnights hashes of visitors change.
    home: str = "UTC"
    compared: Compared | None = None
    starts: tuple[datetime, ...] | None = None
    values: tuple[str | None, ...] | None = None

    @property
    def reads_from(self) -> datetime:
        """Of events before this nothing is read."""
        return min(self.start, self.compared.start) if self.compared else self.start

    def reads(self, day: date) -> bool:
        """Whether events of a UTC day are read."""
        if self.compared is None:
            return overlaps_utc_day(day, self.reads_from, self.end)
        spans = ((self.start, self.end), (self.compared.start, self.compared.end))
        return any(start < end and overlaps_utc_day(day, start, end) for start, end in spans)

    @property
    def counts_visitors(self) -> bool:
        return "visitors" in self.measures

    @property
    def is_of_visits(self) -> bool:
        """Whether it asks where visits begin or end: then all of it is of visits."""
        return any(name in ENDS_OF_VISITS for name in self._fields)

    @property
    def asks_visits(self) -> bool:
        return self.is_of_visits or any(name in VISIT_MEASURES for name in self.measures)

    @property
    def asks_events(self) -> bool:
        """Whether it asks for what is counted of events."""
        return not self.is_of_visits and any(name not in VISIT_MEASURES for name in self.measures)

    @property
    def tells_visitors(self) -> bool:
        """Whether it depends on which events are of one visitor."""
        return self.counts_visitors or self.asks_visits or any(name in ENGAGED_MEASURES for name in self.measures)

    @property
    def names_no_visit(self) -> bool:
        """Whether it asks for what no visit has, as it may have several."""
        of_visits = ("channel", "browser_version", "os_version", *VISIT_DIMENSIONS, *COLUMNS_OF_VISITS)
        of_events = (*NOT_OF_VISITS, *(name for name in UNCOUNTED if name not in of_visits), VALUE)
        return self.event is not None or any(name in of_events or has_key(name) for name in self._fields)

    @property
    def asks_computed(self) -> bool:
        """Whether it asks for a dimension that only DuckDB's SQL computes."""
        return any(map(is_computed, self._fields))

    @property
    def _fields(self) -> tuple[str, ...]:
        return (*((self.by,) if self.by else ()), *(each.field for each in self.conditions))

    def bucket_starts(self) -> list[datetime]:
        """In UTC, at most one more than BUCKETS_MAX."""
        if self.starts is not None:
            return list(self.starts)
        return bucket_starts(self.start, self.end, self.interval, self.zone, BUCKETS_MAX + 1, self.week)


def parse(parameters: Mapping[str, str], now: datetime, default_zone: str) -> Query:
    """Raises QueryError. Without `from` and `to`: the seven days that end today."""
    _check_names_and_text(parameters)
    zone = _zone(parameters.get("tz") or default_zone)
    start, end = _span(parameters.get("from", ""), parameters.get("to", ""), now, zone)
    query = Query(
        start=start,
        end=end,
        zone=zone,
        interval=cast(Interval, _one_of("interval", parameters.get("interval") or "none", get_args(Interval))),
        week=cast(Week, _one_of("week", parameters.get("week") or "monday", tuple(WEEKDAY))),
        by=_by(parameters.get("by", "")),
        event=parameters.get("event") or None,
        site=parameters.get("site") or None,
        conditions=parse_filter(parameters.get("filter", "")),
        limit=_limit(parameters.get("limit", "")),
        bots=cast(Bots, _one_of("bots", parameters.get("bots") or "exclude", get_args(Bots))),
        measures=parse_measures(parameters.get("measures", ""), parameters.get("visitors", "")),
        scope=_scope(parameters.get("scope", "")),
        home=default_zone,
    )
    _check_visits(query)
    if has_more_buckets(start, end, query.interval, zone, BUCKETS_MAX, query.week):
        raise QueryError("interval", f"more than {BUCKETS_MAX} rows; choose a longer interval or a shorter time")
    return replace(query, compared=_compared(parameters.get("compare", ""), query, now))


def query_fields(query: Query) -> dict[str, Any]:
    """The fields of a query by name, for one of a kind that has more."""
    return {field.name: getattr(query, field.name) for field in fields(Query)}


def _compared(text: str, query: Query, now: datetime) -> Compared | None:
    if not text:
        return None
    kind = cast(Compare, _one_of("compare", text, get_args(Compare)))
    return compared(kind, query.start, query.end, query.bucket_starts(), query.zone, now)


def _check_visits(query: Query) -> None:
    if query.is_of_visits and query.names_no_visit:
        raise QueryError("filter", "entry and exit are of visits, and go with no event, path, value or property")
    if query.is_of_visits and any(name.startswith(VALUE) or name in ENGAGED_MEASURES for name in query.measures):
        raise QueryError("measures", "values and engaged time are of events, and go with neither entry nor exit")


def _check_names_and_text(parameters: Mapping[str, str]) -> None:
    for name, text in parameters.items():
        if name not in PARAMETERS:
            raise QueryError(name, f"unknown parameter; known are {', '.join(PARAMETERS)}")
        if not is_unicode(text):
            raise QueryError(name, "must be UTF-8")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise QueryError("tz", "must be a time zone such as UTC, Europe/Berlin or America/New_York") from None


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
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a URL arrives as a space
        if moment.tzinfo is not None and 1970 <= moment.year < 9999:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise QueryError(parameter, "must be a date such as 2026-11-22, or a time with a zone such as 2026-11-22T16:00:00Z")


def _one_of(parameter: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise QueryError(parameter, f"must be one of {', '.join(allowed)}")
    return text


def _scope(text: str) -> Scope | None:
    return cast(Scope, _one_of("scope", text, get_args(Scope))) if text else None


def _by(text: str) -> str | None:
    is_key = has_key(text) and len(PROPS) < len(text) <= len(PROPS) + KEY_MAX
    if text and text not in NAMES and not is_key:
        raise QueryError("by", f"must be one of {', '.join(NAMES)}, props.<key> or query.<name>")
    return text or None


def _limit(text: str) -> int:
    if text and not (text.isdecimal() and text.isascii() and len(text) < 9 and 1 <= int(text) <= LIMIT_MAX):
        raise QueryError("limit", f"must be a whole number from 1 to {LIMIT_MAX}")
    return int(text) if text else LIMIT_DEFAULT
