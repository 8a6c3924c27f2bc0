"""What a report reads: from a query and the days of a snapshot to typed reads. Pure: no
SQL, and no file is opened.

Events without a filter are summed from the counters: by quarter of an hour where a
dimension is counted so, else from rows of a day, with the edges from the archive.
Filters, and visitors always, are answered from the archive, or, for a day whose archive
has expired, from the visitors that were kept with its counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeVar

from reports.calendar import is_calendar_day, overlaps_utc_day
from reports.day_pieces import DayRow, Span, asks_part_of_values, pieces_of
from reports.dimensions import is_uncounted
from reports.filters import Condition
from reports.query import Bots, Query
from shared.generations.counter_schema import BUCKET_S, EVENT, SITE, TOTAL
from shared.generations.snapshot import Day, Part, Snapshot
from shared.schema import COUNTED_DIMENSIONS

T = TypeVar("T")
# An `engaged` event of more is none: no page is in sight for longer.
STRETCH_MAX_S = 86_400


class HostDay(NamedTuple):
    """The data that a host has of a UTC day. `host` is a number, of no meaning beyond
    one question.
    """

    day: date
    kept: Day
    host: int = 0


# By day. A day stands once for each host that has it.
Days = Sequence[HostDay]


@dataclass(frozen=True)
class PartOfDay:
    """A part of a host that a read needs; its bytes are verified when it is opened."""

    kind: Literal["archive", "counters", "sessions", "visits"]
    day: date
    part: Part
    host: int = 0


Parts = tuple[PartOfDay, ...]


@dataclass(frozen=True)
class Selection:
    """Which events are counted. `start` and `end` are UTC, half open."""

    start: datetime
    end: datetime
    bots: Bots
    event: str | None
    site: str | None
    conditions: tuple[Condition, ...]

    @property
    def is_whole_days(self) -> bool:
        """Whether the parts of its UTC days hold no event outside its time."""
        return {_utc_time(self.start), _utc_time(self.end)} == {time()}


@dataclass(frozen=True)
class CappedValues:
    """On these days, values without rows of their own in `counters` are counted under
    `(other)`.
    """

    days: tuple[date, ...]
    dimension: str
    counters: Parts


@dataclass(frozen=True)
class ArchiveScan:
    """Events and their visitors from the archive, by bucket and value. `spans`: only of
    these times, in order, each within a UTC day; None for all of the selection.
    `places`: for each span an instant of the bucket that its events are in; None where
    that is the bucket of their time.
    """

    selection: Selection
    bucket_starts: tuple[datetime, ...]
    by: str | None
    parts: Parts
    capped: CappedValues | None
    spans: tuple[Span, ...] | None = None
    places: tuple[datetime, ...] | None = None


@dataclass(frozen=True)
class CounterScan:
    """Events from counters, by bucket and value. `dimension` is that of the rows to
    read. Without `bucket_starts` all events are in one bucket.

    `quarters`: parts read by quarter of an hour. `day_rows`: parts read by day, of them
    the rows that begin at `cuts`, each in the bucket of the instant in `places`.
    `removed`: events of these rows that are in another bucket or in none. `edges`: what
    no row has. `remainder`: on the days of these parts, what the event or site has
    beyond the rows of values is `(other)`.
    """

    selection: Selection
    bucket_starts: tuple[datetime, ...]
    by: str | None
    dimension: str
    quarters: Parts
    day_rows: Parts
    cuts: tuple[datetime, ...]
    places: tuple[datetime, ...]
    removed: ArchiveScan | None
    edges: ArchiveScan | None
    remainder: Parts

    @property
    def archive_spans(self) -> tuple[Span, ...]:
        """The times of which the archive is needed."""
        return tuple(span for scan in (self.edges, self.removed) if scan for span in scan.spans or ())


Scan = CounterScan | ArchiveScan


@dataclass(frozen=True)
class SeriesRead:
    """Rows (bucket, events, visitors), by bucket. `visitors` is None where they are not
    asked for; otherwise events from the archive come from the same scan.
    """

    events: Scan
    visitors: ArchiveScan | None


@dataclass(frozen=True)
class BreakdownRead:
    """Rows (bucket, value, events, visitors, events of all values) of the `limit`
    values with the most events; with `shown` only of these values.
    """

    events: Scan
    visitors: ArchiveScan | None
    limit: int
    shown: tuple[str | None, ...] | None = None


@dataclass(frozen=True)
class TotalRead:
    """One row (events, visitors, whether numbers of visitors are ambiguous);
    visitors are NULL where they are not asked for.
    """

    events: Scan
    with_visitors: bool


@dataclass(frozen=True)
class KeptVisitorsRead:
    """Rows (start of the calendar day, value, visitors). Without a site those of all
    sites together, with `bot` None those of bots and people together.
    """

    counters: Parts
    dimension: str
    site: str | None
    bot: bool | None


@dataclass(frozen=True)
class EventsRead:
    """Every archived event of a time, in order of time, of one site or (None) all."""

    parts: Parts
    start: datetime
    end: datetime
    site: str | None = None


@dataclass(frozen=True)
class ValueSumsRead:
    """Rows (bucket, value, power of two, sum of the whole multiples of it, count) of
    the values of events. `of_groups`: of the dimension's values that the read of the
    groups has found, which are then `shown`; else of all events together.
    """

    events: ArchiveScan
    of_groups: bool
    shown: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class ValueQuantilesRead:
    """Rows (bucket, value, p50, p95), as ValueSumsRead."""

    events: ArchiveScan
    of_groups: bool
    shown: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class EngagedRead:
    """Rows (bucket, value, milliseconds, visitors, median of their milliseconds) of
    `engaged` events, as ValueSumsRead.
    """

    events: ArchiveScan
    of_groups: bool
    shown: tuple[str | None, ...] = (None,)


Read = SeriesRead | BreakdownRead | TotalRead | KeptVisitorsRead | ValueSumsRead | ValueQuantilesRead | EngagedRead
# The start of a bucket (that of the query without an interval), in UTC, and a value
# (None without `by`, and for no value).
Place = tuple[datetime, str | None]
GroupRead = Callable[[Scan, ArchiveScan | None], SeriesRead | BreakdownRead]


@dataclass(frozen=True)
class Plan:
    """The reads of a report, and what its rows need to know. A report that needs an
    expired archive has no read and no answer. `hosts`: which ones have a day. `others`:
    the reads of measures beside events and visitors, by names of their own.
    """

    query: Query
    bucket_starts: tuple[datetime, ...]
    expired: tuple[date, ...]
    hosts: tuple[tuple[date, frozenset[int]], ...]
    groups: SeriesRead | BreakdownRead | None = None
    total: TotalRead | None = None
    kept_visitors: KeptVisitorsRead | None = None
    others: Mapping[str, Read] = field(default_factory=dict)

    @property
    def reads(self) -> dict[str, Read]:
        """In order: the total tells how the visitors of the groups may be counted."""
        reads: dict[str, Read | None] = {
            "total": self.total,
            "groups": self.groups,
            "kept_visitors": self.kept_visitors,
            **self.others,
        }
        return {name: read for name, read in reads.items() if read is not None}

    @property
    def has_answer(self) -> bool:
        return bool(self.reads)

    @property
    def counts_visitors(self) -> bool:
        return self.query.counts_visitors

    @property
    def buckets(self) -> list[tuple[datetime, datetime]]:
        """Start and end of each, in UTC."""
        return list(zip(self.bucket_starts, (*self.bucket_starts[1:], self.query.end), strict=True))

    def place(self, start: datetime | None, value: str | None) -> Place:
        """Where a row of a read belongs. `start`: as its column `bucket` has it."""
        if start is None or self.query.interval == "none":
            return self.bucket_starts[0], value
        return as_utc(start), value

    def has_expired(self, start: datetime, end: datetime) -> bool:
        """Whether the archive of a part of this time is past its retention."""
        return any(overlaps_utc_day(day, start, end) for day in self.expired)

    def is_of_one_host(self, start: datetime, end: datetime) -> bool:
        """Whether at most one host has events of the UTC days of this time: numbers of
        visitors that several hosts kept cannot be added up.
        """
        return len({host for day, hosts in self.hosts if overlaps_utc_day(day, start, end) for host in hosts}) <= 1


def days_of(snapshot: Snapshot, query: Query, host: int = 0) -> list[HostDay]:
    """The UTC days that a query touches, of those in a snapshot."""
    return [HostDay(day, snapshot.days[day], host) for day in sorted(snapshot.days) if query.reads(day)]


def days_within(days: Days, query: Query) -> list[HostDay]:
    """Of the days of a question those of one of the times that it compares."""
    return [each for each in days if overlaps_utc_day(each.day, query.start, query.end)]


def plan_counts(query: Query, days: Days, group: GroupRead | None) -> Plan:
    """The plan of a report that counts events and visitors; `group` makes the read of
    its rows, None where its total is its only row.
    """
    starts = tuple(query.bucket_starts())
    plan = Plan(query, starts, _distinct(each.day for each in days if each.kept.expired), _hosts(days))
    uses_counters = counters_suffice(query, days)
    buckets = starts if query.interval != "none" else ()
    if plan.expired and not (uses_counters and counters_have_expired(query, days, buckets)):
        return plan
    scan = counter_scan if uses_counters else archive_scan
    has_total_visitors = plan.counts_visitors and not plan.has_expired(query.start, query.end)
    groups = total = None
    if group is not None:
        visitors = archive_scan(query, days, buckets, query.by) if plan.counts_visitors else None
        groups = group(scan(query, days, buckets, query.by), visitors)
    if has_total_visitors:
        total = TotalRead(archive_scan(query, days, (), None), with_visitors=True)
    elif group is None or query.values is not None:
        total = TotalRead(scan(query, days, (), None), with_visitors=False)
    return replace(plan, groups=groups, total=total, kept_visitors=kept_visitors_read(plan, days))


def _hosts(days: Days) -> tuple[tuple[date, frozenset[int]], ...]:
    return tuple((day, frozenset(each.host for each in same)) for day, same in groupby(days, lambda each: each.day))


def _distinct(found: Iterable[T]) -> tuple[T, ...]:
    """Each once, in order. Hosts that have a day in the same form read it alike."""
    return tuple(dict.fromkeys(found))


def counters_suffice(query: Query, days: Days) -> bool:
    """Whether the counters, with the archive of edges, have the events of a query: they
    know no filter and no property, and a capped event or site may be counted under
    `(other)`.
    """
    is_aligned = query.start.timestamp() % BUCKET_S == 0 == query.end.timestamp() % BUCKET_S
    needs_capped = (query.event and _is_capped(EVENT, days)) or (query.site and _is_capped(SITE, days))
    return is_aligned and not query.conditions and not is_uncounted(query.by) and not needs_capped


def counters_have_expired(query: Query, days: Days, bucket_starts: tuple[datetime, ...]) -> bool:
    """Whether the counters of days without an archive have the events of a query."""
    for by in {query.by, None}:
        spans = counter_scan(query, days, bucket_starts, by).archive_spans
        if any(overlaps_utc_day(each.day, *span) for each in days if each.kept.expired for span in spans):
            return False
    return True


def counter_scan(query: Query, days: Days, bucket_starts: tuple[datetime, ...], by: str | None) -> CounterScan:
    dimension = _counter_dimension(query, by)
    read = [(each, pieces_of(query, each.day, each.kept, dimension, bucket_starts)) for each in days]
    archive = archive_scan(query, days, bucket_starts, by)
    rows = _distinct(row for _, pieces in read for row in pieces.rows)
    remainder = [each for each in days if by in each.kept.capped and each.kept.expired]
    return CounterScan(
        selection_of(query),
        bucket_starts,
        by,
        dimension,
        _counters(each for each, pieces in read if pieces.by_quarter),
        _counters(each for each, pieces in read if pieces.rows),
        tuple(row.cut for row in rows),
        tuple(row.place for row in rows),
        _removed(archive, [each for each, pieces in read if any(row.removed for row in pieces.rows)], rows),
        _edges(
            archive, [each for each, pieces in read if pieces.edges], _distinct(s for _, p in read for s in p.edges)
        ),
        _counters(remainder) if asks_part_of_values(query, by) else (),
    )


def _edges(scan: ArchiveScan, touched: Days, spans: tuple[Span, ...]) -> ArchiveScan | None:
    """`touched`: the days that have events in these times which no row counts."""
    return replace(scan, parts=_archive(touched), spans=spans) if spans else None


def _removed(scan: ArchiveScan, touched: Days, rows: Iterable[DayRow]) -> ArchiveScan | None:
    removed = [(span, row.place) for row in rows for span in row.removed]
    edges = _edges(scan, touched, tuple(span for span, _ in removed))
    return replace(edges, places=tuple(place for _, place in removed)) if edges else None


def archive_scan(query: Query, days: Days, bucket_starts: tuple[datetime, ...], by: str | None) -> ArchiveScan:
    return ArchiveScan(selection_of(query), bucket_starts, by, _archive(days), _capped_values(query, days, by))


def _capped_values(query: Query, days: Days, by: str | None) -> CappedValues | None:
    capped = [each for each in days if by in each.kept.capped]
    if not capped or not counters_suffice(query, days) or asks_part_of_values(query, by):
        return None
    return CappedValues(_distinct(each.day for each in capped), _counter_dimension(query, by), _counters(capped))


def kept_visitors_read(plan: Plan, days: Days) -> KeptVisitorsRead | None:
    """None where no expired row or total is one calendar day, or the kept visitors are
    of another time zone or do not know the query's filter.
    """
    query = plan.query
    zones = {each.kept.visitor_zone for each in days if each.kept.expired}
    if not plan.counts_visitors or query.conditions or zones != {query.zone.key} or (query.event and query.by):
        return None
    spans = [*plan.buckets, (query.start, query.end)]
    if not any(plan.has_expired(*span) and is_calendar_day(*span, query.zone) for span in spans):
        return None
    counters = _counters(days)
    if not counters:
        return None
    dimension = "event" if query.event else query.by or TOTAL
    bot = {"exclude": False, "only": True, "include": None}[query.bots]
    return KeptVisitorsRead(counters, dimension, query.site, bot)


def of_shown(read: Read, groups: Iterable[tuple[Any, ...]]) -> Read:
    """The read as it is made once the groups are fetched."""
    if isinstance(read, ValueSumsRead | ValueQuantilesRead | EngagedRead) and read.of_groups:
        return replace(read, shown=_distinct(row[1] for row in groups))
    return read


def as_utc(timestamp: datetime) -> datetime:
    """A TIMESTAMP column, which is UTC without a zone."""
    return timestamp.replace(tzinfo=UTC)


def events_read(query: Query, days: Days) -> EventsRead:
    """The read of an export."""
    return EventsRead(_archive(days), query.start, query.end, query.site)


def _is_capped(dimension: str, days: Days) -> bool:
    return any(dimension in each.kept.capped for each in days)


def selection_of(query: Query) -> Selection:
    return Selection(query.start, query.end, query.bots, query.event, query.site, query.conditions)


def _archive(days: Iterable[HostDay]) -> Parts:
    return tuple(PartOfDay("archive", each.day, part, each.host) for each in days for part in each.kept.archive)


def _counters(days: Iterable[HostDay]) -> Parts:
    return tuple(PartOfDay("counters", each.day, part, each.host) for each in days for part in each.kept.counters)


def _counter_dimension(query: Query, by: str | None) -> str:
    """The dimension whose rows have the value and the event that are asked for."""
    if by in COUNTED_DIMENSIONS:
        return by
    return EVENT if by == EVENT or query.event is not None else TOTAL


def _utc_time(moment: datetime) -> time:
    return moment.astimezone(UTC).time()
