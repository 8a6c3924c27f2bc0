"""Several reports in one question. With a filter the events that match it are written
to a file once, and each report reads that instead of the archive: its statements are
the same, and so are its answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
from msgspec import structs

from reports.calendar import overlaps_utc_day
from reports.kinds import kind_of, visitor_events
from reports.kinds.batch import BatchQuery, together
from reports.kinds.visitor_events import VisitorQuery, questions
from reports.measures.names import VISIT_MEASURES
from reports.plan import ArchiveScan, BreakdownRead, Parts, Read, archive_scan, days_within
from reports.query import Query
from reports.report import OpenParts, Source, execute, fetch, report_of
from reports.rows import Row
from reports.sql.duckdb.breakdown_batch import breakdown_batch
from reports.sql.duckdb.matching_file import all_columns, matching_copy
from reports.visits.made import room_for_visits
from shared.generations.snapshot import Part
from shared.sql.archive_events import SOME_COLUMNS

# Two readings cost less than to write the file and to read it twice; and counting
# events alone costs less than writing them.
_WORTH = 3

Time = tuple[datetime, datetime]


def answer_of(database: duckdb.DuckDBPyConnection, source: Source, query: Query, room_bytes: int) -> Row:
    """The report of a source; of several together where the question has several, which
    may write files of `room_bytes`. Raises what the source's `open_parts` raises.
    """
    if isinstance(query, VisitorQuery):
        # Where the archive has expired, nothing is left of a visitor.
        kept = source._replace(days=[each for each in source.days if not each.kept.expired])
        asked = questions(query, kept.days)
        return visitor_events.shape({name: report_of(database, kept, each) for name, each in asked.items()})
    if not isinstance(query, BatchQuery):
        return report_of(database, source, query)
    with _shared(database, source, query, room_bytes) as shared:
        once = shared._replace(known=_counted_together(database, shared, query))
        return together(
            query, [report_of(database, once, each) if isinstance(each, Query) else each for each in query.each]
        )


def _counted_together(
    database: duckdb.DuckDBPyConnection, source: Source, query: BatchQuery
) -> dict[Read, list[tuple[Any, ...]]]:
    """What is read for several breakdowns at once, where these count events alone."""
    found: dict[ArchiveScan, list[tuple[str, BreakdownRead]]] = {}
    for each in query.queries:
        if each.by is None or not each.asks_events or each.interval != "none":
            continue
        read = kind_of(each).plan(each, days_within(source.days, each)).groups
        if not isinstance(read, BreakdownRead) or read.visitors is not None:
            continue
        if isinstance(read.events, ArchiveScan) and read.events.capped is None:
            found.setdefault(replace(read.events, by=None), []).append((each.by, read))
    known: dict[Read, list[tuple[Any, ...]]] = {}
    for scan, reads in found.items():
        if len(reads) > 1:
            names, limits = [name for name, _ in reads], [read.limit for _, read in reads]
            rows = fetch(database, source.open_parts, breakdown_batch(scan, names, limits))
            for place, (_, read) in enumerate(reads, 1):
                known[read] = [(None, value, events, None, of_all) for at, value, events, of_all in rows if at == place]
    return known


@contextmanager
def _shared(
    database: duckdb.DuckDBPyConnection, source: Source, query: BatchQuery, room_bytes: int
) -> Iterator[Source]:
    """What the reports of a question are answered from while the block runs: a file for
    each of its times, or the source itself where files would be of no use.
    """
    readers = _readers(query)
    stored = sum(part.bytes for each in source.days for part in each.kept.archive)
    has_expired = any(each.kept.expired for each in source.days)
    is_worth = sum(map(len, readers.values())) >= _WORTH * len(readers) > 0
    counts_visitors = any(each.tells_visitors for each in query.queries if each.asks_events)
    if not (query.conditions and is_worth and counts_visitors) or has_expired or not 0 < stored <= room_bytes:
        yield source
        return
    days = [each._replace(kept=structs.replace(each.kept, archive=())) for each in source.days]
    made: dict[Part, Path] = {}
    with room_for_visits(database) as room:
        columns = room / f"matching-{secrets.token_hex(8)}.parquet"
        try:
            execute(database, source.open_parts, all_columns(str(columns)))
            for number, (time, reports) in enumerate(readers.items()):
                places = [place for place, each in enumerate(days) if overlaps_utc_day(each.day, *time)]
                span = replace(query, start=time[0], end=time[1])
                scan = archive_scan(span, [source.days[place] for place in places], (), None)
                if not scan.parts:
                    continue
                part = Part(generation=-1 - number, rows=0, bytes=0, sha256="", version=SOME_COLUMNS)
                made[part] = room / f"matching-{secrets.token_hex(8)}.parquet"
                names = [each.by for each in reports if each.by]
                execute(database, source.open_parts, matching_copy(scan, names, _columns(reports), str(made[part])))
                first = days[places[0]]
                days[places[0]] = first._replace(kept=structs.replace(first.kept, archive=(*first.kept.archive, part)))
            yield source._replace(days=days, open_parts=_opening(source.open_parts, columns, made))
        finally:
            for path in (columns, *made.values()):
                path.unlink(missing_ok=True)


def _readers(query: BatchQuery) -> dict[Time, list[Query]]:
    """By each time that a question is about, the reports that count events of it."""
    found: dict[Time, list[Query]] = {}
    for each in query.queries:
        earlier = each.compared
        times = [(each.start, each.end), *([(earlier.start, earlier.end)] if earlier else [])]
        for time in times:
            if each.asks_events and time[0] < time[1]:
                found.setdefault(time, []).append(each)
    return found


def _columns(reports: list[Query]) -> set[str]:
    """Of events, what the reports read beside their dimensions: values and engaged time
    are of events that are chosen by their names.
    """
    found: set[str] = set()
    for each in reports:
        others = any(name not in ("events", "visitors", *VISIT_MEASURES) for name in each.measures)
        found |= {"value", "event"} if others else set()
        found |= {"visitor"} if each.tells_visitors else set()
        found |= {"event"} if each.event is not None else set()
        found |= {"time"} if each.interval != "none" else set()
    return found


def _opening(open_parts: OpenParts, columns: Path, made: Mapping[Part, Path]) -> OpenParts:
    """Opens these files, after the one that has all columns, beside parts, which are of
    another version.
    """

    def open_either(parts: Parts) -> list[str]:
        found = [str(made[each.part]) for each in parts if each.part in made]
        return [str(columns), *found] if found else open_parts(parts)

    return open_either
