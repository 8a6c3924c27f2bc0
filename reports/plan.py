"""What a report reads: from a query and the days of a snapshot to typed reads. Pure: no
SQL, and no file is opened.

Events without a filter are summed from the counters: by quarter of an hour where a
dimension is counted so, else from rows of a day, with the edges from the archive.
Filters, and visitors always, are answered from the archive, or, for a day whose archive
has expired, from the visitors that were kept with its counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from reports.calendar import is_calendar_day, overlaps_utc_day
from reports.day_pieces import DayRow, Span, asks_part_of_values, pieces_of
from reports.query import PROPS, Bots, Condition, Query
from shared.generations.counter_schema import BUCKET_S, EVENT, SITE, TOTAL
from shared.generations.snapshot import Day, Part, Snapshot
from shared.schema import COUNTED_DIMENSIONS

Days = Mapping[date, Day]


@dataclass(frozen=True)
class PartOfDay:
    """A part that a read needs; its bytes are verified when it is opened."""

    kind: Literal["archive", "counters"]
    day: date
    part: Part


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
    values with the most events.
    """

    events: Scan
    visitors: ArchiveScan | None
    limit: int


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
    """Every archived event of a time, in order of time."""

    parts: Parts
    start: datetime
    end: datetime


Read = SeriesRead | BreakdownRead | TotalRead | KeptVisitorsRead
GroupRead = Callable[[Scan, ArchiveScan | None], SeriesRead | BreakdownRead]


@dataclass(frozen=True)
class Plan:
    """The reads of a report, and what its rows need to know. A report that needs an
    expired archive has no read and no answer.
    """

    query: Query
    bucket_starts: tuple[datetime, ...]
    expired: tuple[date, ...]
    groups: SeriesRead | BreakdownRead | None = None
    total: TotalRead | None = None
    kept_visitors: KeptVisitorsRead | None = None

    @property
    def reads(self) -> dict[str, Read]:
        """In order: the total tells how the visitors of the groups may be counted."""
        reads: dict[str, Read | None] = {
            "total": self.total,
            "groups": self.groups,
            "kept_visitors": self.kept_visitors,
        }
        return {name: read for name, read in reads.items() if read is not None}

    @property
    def has_answer(self) -> bool:
        return bool(self.reads)

    @property
    def counts_visitors(self) -> bool:
        return self.query.visitors == "exact"

    @property
    def buckets(self) -> list[tuple[datetime, datetime]]:
        """Start and end of each, in UTC."""
        return list(zip(self.bucket_starts, (*self.bucket_starts[1:], self.query.end), strict=True))

    def has_expired(self, start: datetime, end: datetime) -> bool:
        """Whether the archive of a part of this time is past its retention."""
        return any(overlaps_utc_day(day, start, end) for day in self.expired)


def days_of(snapshot: Snapshot, query: Query) -> dict[date, Day]:
    """The UTC days that a query touches, of those in a snapshot."""
    first, last = query.start.date(), (query.end - timedelta(microseconds=1)).date()
    return {day: snapshot.days[day] for day in sorted(snapshot.days) if first <= day <= last}


def plan_counts(query: Query, days: Days, group: GroupRead | None) -> Plan:
    """The plan of a report that counts events and visitors; `group` makes the read of
    its rows, None where its total is its only row.
    """
    starts = tuple(query.bucket_starts())
    plan = Plan(query, starts, tuple(day for day, kept in days.items() if kept.expired))
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
    elif group is None:
        total = TotalRead(scan(query, days, (), None), with_visitors=False)
    return Plan(query, starts, plan.expired, groups, total, kept_visitors_read(plan, days))


def counters_suffice(query: Query, days: Days) -> bool:
    """Whether the counters, with the archive of edges, have the events of a query: they
    know no filter and no property, and a capped event or site may be counted under
    `(other)`.
    """
    is_aligned = query.start.timestamp() % BUCKET_S == 0 == query.end.timestamp() % BUCKET_S
    needs_capped = (query.event and capped_days(EVENT, days)) or (query.site and capped_days(SITE, days))
    needs_property = query.by is not None and query.by.startswith(PROPS)
    return is_aligned and not query.conditions and not needs_property and not needs_capped


def counters_have_expired(query: Query, days: Days, bucket_starts: tuple[datetime, ...]) -> bool:
    """Whether the counters of days without an archive have the events of a query."""
    for by in {query.by, None}:
        spans = counter_scan(query, days, bucket_starts, by).archive_spans
        if any(overlaps_utc_day(day, *span) for day, kept in days.items() if kept.expired for span in spans):
            return False
    return True


def counter_scan(query: Query, days: Days, bucket_starts: tuple[datetime, ...], by: str | None) -> CounterScan:
    dimension = _counter_dimension(query, by)
    pieces = [pieces_of(query, day, kept, dimension, bucket_starts) for day, kept in days.items()]
    by_day = [day for day, piece in zip(days, pieces, strict=True) if piece.rows]
    by_quarter = [day for day, piece in zip(days, pieces, strict=True) if piece.by_quarter]
    rows = [row for piece in pieces for row in piece.rows]
    spans = tuple(span for piece in pieces for span in piece.edges)
    archive = archive_scan(query, days, bucket_starts, by)
    remainder = [day for day in capped_days(by, days) if asks_part_of_values(query, by) and days[day].expired]
    return CounterScan(
        _selection(query),
        bucket_starts,
        by,
        dimension,
        _counters(days, by_quarter),
        _counters(days, by_day),
        tuple(row.cut for row in rows),
        tuple(row.place for row in rows),
        _removed(archive, rows),
        _edges(archive, spans),
        _counters(days, remainder),
    )


def _edges(scan: ArchiveScan, spans: tuple[Span, ...]) -> ArchiveScan | None:
    if not spans:
        return None
    touched = {start.astimezone(UTC).date() for start, _ in spans}
    return replace(scan, parts=tuple(each for each in scan.parts if each.day in touched), spans=spans)


def _removed(scan: ArchiveScan, rows: Iterable[DayRow]) -> ArchiveScan | None:
    removed = [(span, row.place) for row in rows for span in row.removed]
    edges = _edges(scan, tuple(span for span, _ in removed))
    return replace(edges, places=tuple(place for _, place in removed)) if edges else None


def archive_scan(query: Query, days: Days, bucket_starts: tuple[datetime, ...], by: str | None) -> ArchiveScan:
    parts = tuple(PartOfDay("archive", day, part) for day, kept in days.items() for part in kept.archive)
    return ArchiveScan(_selection(query), bucket_starts, by, parts, _capped_values(query, days, by))


def _capped_values(query: Query, days: Days, by: str | None) -> CappedValues | None:
    capped = capped_days(by, days) if counters_suffice(query, days) else ()
    if not capped or asks_part_of_values(query, by):
        return None
    return CappedValues(capped, _counter_dimension(query, by), _counters(days, capped))


def kept_visitors_read(plan: Plan, days: Days) -> KeptVisitorsRead | None:
    """None where no expired row or total is one calendar day, or the kept visitors are
    of another time zone or do not know the query's filter.
    """
    query = plan.query
    zones = {kept.visitor_zone for kept in days.values() if kept.expired}
    if not plan.counts_visitors or query.conditions or zones != {query.zone.key} or (query.event and query.by):
        return None
    spans = [*plan.buckets, (query.start, query.end)]
    if not any(plan.has_expired(*span) and is_calendar_day(*span, query.zone) for span in spans):
        return None
    counters = _counters(days, days)
    if not counters:
        return None
    dimension = "event" if query.event else query.by or TOTAL
    bot = {"exclude": False, "only": True, "include": None}[query.bots]
    return KeptVisitorsRead(counters, dimension, query.site, bot)


def events_read(query: Query, days: Days) -> EventsRead:
    """The read of an export."""
    return EventsRead(archive_scan(query, days, (), None).parts, query.start, query.end)


def capped_days(dimension: str | None, days: Days) -> tuple[date, ...]:
    return tuple(day for day, kept in days.items() if dimension in kept.capped)


def _selection(query: Query) -> Selection:
    return Selection(query.start, query.end, query.bots, query.event, query.site, query.conditions)


def _counters(days: Days, wanted: Iterable[date]) -> Parts:
    return tuple(PartOfDay("counters", day, part) for day in wanted for part in days[day].counters)


def _counter_dimension(query: Query, by: str | None) -> str:
    """The dimension whose rows have the value and the event that are asked for."""
    if by in COUNTED_DIMENSIONS:
        return by
    return EVENT if by == EVENT or query.event is not None else TOTAL


def _utc_time(moment: datetime) -> time:
    return moment.astimezone(UTC).time()
