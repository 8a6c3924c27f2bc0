"""How the events of one UTC day are read where counters answer: by quarter of an hour,
from rows of a day, and the edges that no row has from the archive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, datetime, timedelta
from typing import NamedTuple

from reports.query import Query
from shared.generations.counter_schema import COUNTED, EVENT, SITE, TOTAL
from shared.generations.day_cuts import cut_spans
from shared.generations.snapshot import Day

# Start and end (not included).
Span = tuple[datetime, datetime]


class DayRow(NamedTuple):
    """The rows of a day that begin at `cut`, counted in the bucket of `place` without
    the events of the spans that are `removed`.
    """

    cut: datetime
    place: datetime
    removed: tuple[Span, ...]


class Pieces(NamedTuple):
    """How the events of a UTC day are read: by quarter of an hour, or by rows of a day;
    and `edges` from the archive.
    """

    by_quarter: bool = False
    rows: tuple[DayRow, ...] = ()
    edges: tuple[Span, ...] = ()


def pieces_of(query: Query, day: date, kept: Day, dimension: str, bucket_starts: tuple[datetime, ...]) -> Pieces:
    asks_site = query.site is not None or query.by == SITE
    # The archive has apart what a capped value may have together.
    is_coarse = dimension in kept.capped and not kept.expired and asks_part_of_values(query, query.by)
    asked = {dimension, *((SITE,) if asks_site else ()), *((EVENT,) if query.event is not None else ())}
    if is_coarse or not asked.isdisjoint(kept.uncounted):
        whole = ((max(start, query.start), min(end, query.end)) for start, end in cut_spans(day, kept.zone))
        return Pieces(edges=tuple(span for span in whole if span[0] < span[1]))
    if dimension == TOTAL or dimension in kept.quarters:
        return Pieces(by_quarter=True)
    rows: list[DayRow] = []
    edges: list[Span] = []
    for start, end in cut_spans(day, kept.zone):
        spans = _by_bucket(max(start, query.start), min(end, query.end), bucket_starts)
        longest = max(spans, key=_length, default=None)
        if longest and 2 * _length(longest) > end - start:
            # Counting what the row has too much costs less than counting the rest.
            spans.remove(longest)
            around = ((start, longest[0]), (longest[1], end))
            rows.append(DayRow(start, longest[0], tuple(span for span in around if span[0] < span[1])))
        edges += spans
    return Pieces(rows=tuple(rows), edges=tuple(edges))


def _by_bucket(start: datetime, end: datetime, bucket_starts: tuple[datetime, ...]) -> list[Span]:
    """A time, cut where buckets begin; nothing where it ends before its start."""
    if start >= end:
        return []
    inner = bucket_starts[bisect_right(bucket_starts, start) : bisect_left(bucket_starts, end)]
    return list(zip((start, *inner), (*inner, end), strict=True))


def _length(span: Span) -> timedelta:
    return span[1] - span[0]


def asks_part_of_values(query: Query, by: str | None) -> bool:
    """Whether values are asked for with one event or of one site: a capped value may
    have these together with others.
    """
    return (query.event is not None or query.site is not None) and by in COUNTED
