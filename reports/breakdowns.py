"""Several breakdowns in one question. With a filter the events that match it are
written to a file once, and each report reads that instead of the archive: its
statements are the same, and so are its answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
from msgspec import structs

from reports.calendar import overlaps_utc_day
from reports.kinds import visitor_events
from reports.kinds.breakdowns import BreakdownsQuery, together
from reports.kinds.visitor_events import VisitorQuery, questions
from reports.measures.names import ENGAGED_MEASURES, VISIT_MEASURES
from reports.plan import Parts, archive_scan
from reports.query import Query
from reports.report import OpenParts, Source, execute, report_of
from reports.rows import Row
from reports.sql.duckdb.matching_file import matching_copy
from reports.visits.made import room_for_visits
from shared.generations.snapshot import Part

# Two readings cost less than to write the file and to read it twice; and counting
# events alone costs less than writing them.
_WORTH = 3
_VERSION = 2


def answer_of(database: duckdb.DuckDBPyConnection, source: Source, query: Query, room_bytes: int) -> Row:
    """The report of a source; of several together where the question has several, which
    may write files of `room_bytes`. Raises what the source's `open_parts` raises.
    """
    if isinstance(query, VisitorQuery):
        # Where the archive has expired, nothing is left of a visitor.
        kept = source._replace(days=[each for each in source.days if not each.kept.expired])
        asked = questions(query, kept.days)
        return visitor_events.shape({name: report_of(database, kept, each) for name, each in asked.items()})
    if not isinstance(query, BreakdownsQuery):
        return report_of(database, source, query)
    with _shared(database, source, query, room_bytes) as shared:
        once = shared._replace(totals={})
        return together(query, [report_of(database, once, each) for each in query.each])


@contextmanager
def _shared(
    database: duckdb.DuckDBPyConnection, source: Source, query: BreakdownsQuery, room_bytes: int
) -> Iterator[Source]:
    """What the reports of a question are answered from while the block runs: a file for
    each of its times, or the source itself where files would be of no use.
    """
    names = [each.by for each in query.each if each.by and each.asks_events]
    stored = sum(part.bytes for each in source.days for part in each.kept.archive)
    has_expired = any(each.kept.expired for each in source.days)
    columns = _columns(query)
    if not (query.conditions and columns) or len(names) < _WORTH or has_expired or not 0 < stored <= room_bytes:
        yield source
        return
    days = [each._replace(kept=structs.replace(each.kept, archive=())) for each in source.days]
    made: dict[Part, Path] = {}
    with room_for_visits(database) as room:
        try:
            for number, span in enumerate(_times(query)):
                places = [place for place, each in enumerate(days) if overlaps_utc_day(each.day, span.start, span.end)]
                scan = archive_scan(span, [source.days[place] for place in places], (), None)
                if not scan.parts:
                    continue
                part = Part(generation=-1 - number, rows=0, bytes=0, sha256="", version=_VERSION)
                made[part] = room / f"matching-{secrets.token_hex(8)}.parquet"
                execute(database, source.open_parts, matching_copy(scan, names, columns, str(made[part])))
                first = days[places[0]]
                days[places[0]] = first._replace(kept=structs.replace(first.kept, archive=(*first.kept.archive, part)))
            yield source._replace(days=days, open_parts=_opening(source.open_parts, made))
        finally:
            for path in made.values():
                path.unlink(missing_ok=True)


def _columns(query: Query) -> set[str]:
    """Of events, what the measures beside their number need: that of engaged time
    chooses events by their names. Empty where it needs others than those of the query.
    """
    if query.event is not None and any(name in ENGAGED_MEASURES for name in query.measures):
        return set()
    others = any(name not in ("events", "visitors", *VISIT_MEASURES) for name in query.measures)
    return {*(("visitor",) if query.tells_visitors else ()), *(("value", "event") if others else ())}


def _times(query: BreakdownsQuery) -> Iterator[Query]:
    """The times that a question is about, each as a question."""
    yield replace(query, compared=None)
    earlier = query.compared
    if earlier is not None and earlier.start < earlier.end:
        yield replace(query, start=earlier.start, end=earlier.end, compared=None)


def _opening(open_parts: OpenParts, made: Mapping[Part, Path]) -> OpenParts:
    """Opens these files beside parts."""

    def open_either(parts: Parts) -> list[str]:
        others = tuple(each for each in parts if each.part not in made)
        return [*(str(made[each.part]) for each in parts if each.part in made), *(open_parts(others) if others else ())]

    return open_either
