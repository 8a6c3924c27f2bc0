"""From a read of reports/plan.py to one DuckDB statement.

A `.sql` file begins with WITH. Its comment names the relations that it expects; here
they are put in front of its own, and by hand they can be views.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from reports.plan import ArchiveScan, BreakdownRead, EventsRead, KeptVisitorsRead, Read, Scan, SeriesRead, TotalRead
from reports.sql.duckdb.relations import archived_events, matching_counters, matching_events, utc_timestamp
from reports.sql.statement import Parameters, Statement
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.texts import TextNumbers

# A visitor's text occurs again and again in a row group, and is numbered once for each:
# strong numbers cost no more than to look whether fast ones are ambiguous.
_VISITORS = TextNumbers(strong=True)


def statement(read: Read, numbers: TextNumbers) -> Statement:
    """Texts are grouped by number. The last column of a breakdown says whether a number
    stood for several values: then the rows are wrong, and strong numbers are needed.
    """
    bound = Parameters()
    return Statement(_TEXTS[type(read)](read, numbers, bound), bound)


def events_statement(read: EventsRead) -> Statement:
    """The events of an export. It groups nothing."""
    bound = Parameters()
    start, end = (bound.value(name, utc_timestamp(getattr(read, name))) for name in ("start", "end"))
    source = archived_events(read.parts, bound)
    text = (
        f"SELECT {', '.join(ARCHIVE_COLUMNS)} FROM {source} "
        f"WHERE time >= {start} AND time < {end} ORDER BY time, site, id"
    )
    return Statement(text, bound)


def parquet_copy(events: Statement, path: str) -> Statement:
    """Writes the rows of a statement to a Parquet file. `path` is the program's own."""
    return Statement(f"COPY ({events.text}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)", events.parameters)


def _series(read: SeriesRead, _numbers: TextNumbers, bound: Parameters) -> str:
    if isinstance(read.events, ArchiveScan):
        if read.visitors is None:
            return f"SELECT bucket, count(*), NULL FROM ({matching_events(read.events, bound)}) GROUP BY bucket"
        return _with({"visits": _visits(read.events, bound)}, _file("series_of_events.sql"))
    counters = matching_counters(read.events, bound)
    if read.visitors is None:
        return f"SELECT bucket, sum(events)::BIGINT, NULL FROM ({counters}) GROUP BY bucket"
    return _with({"matching_counters": counters, "visits": _visits(read.visitors, bound)}, _file("series.sql"))


def _breakdown(read: BreakdownRead, numbers: TextNumbers, bound: Parameters) -> str:
    bound.value("limit", read.limit)
    if isinstance(read.events, ArchiveScan):
        numbers = TextNumbers(strong=True)  # the values may be many and long
    relations = {"counts": _counts(read.events, numbers, bound)}
    if read.visitors is None:
        return _with(relations, _file("breakdown_events.sql"))
    return _with(relations | {"visits": _visits(read.visitors, bound, numbers)}, _file("breakdown.sql"))


def _counts(scan: Scan, numbers: TextNumbers, bound: Parameters) -> str:
    """(bucket, number, value, events, is_ambiguous) with the events summed."""
    if isinstance(scan, ArchiveScan):
        events, source = "count(*)", matching_events(scan, bound)
    else:
        events, source = "sum(events)::BIGINT", matching_counters(scan, bound)
    return (
        f"SELECT bucket, {numbers.number('value')} AS number, min(value) AS value, {events} AS events, "
        f"{numbers.is_ambiguous('value')} AS is_ambiguous FROM ({source}) m GROUP BY bucket, number"
    )


def _visits(scan: ArchiveScan, bound: Parameters, numbers: TextNumbers | None = None) -> str:
    """(bucket, visitor): the archived events of a query, with a number for the visitor;
    with `numbers` also one for the value, `number`.
    """
    number = f"{numbers.number('value')} AS number, " if numbers else ""
    return f"SELECT bucket, {number}{_VISITORS.number('visitor')} AS visitor FROM ({matching_events(scan, bound)}) m"


def _total(read: TotalRead, _numbers: TextNumbers, bound: Parameters) -> str:
    if not isinstance(read.events, ArchiveScan):
        return f"SELECT coalesce(sum(events), 0)::BIGINT, NULL FROM ({matching_counters(read.events, bound)})"
    if read.with_visitors:
        return _with({"visits": _visits(read.events, bound)}, _file("total.sql"))
    return f"SELECT count(*), NULL FROM ({matching_events(read.events, bound)})"


def _kept_visitors(read: KeptVisitorsRead, _numbers: TextNumbers, bound: Parameters) -> str:
    bound.files("counters", read.counters)
    for name in ("dimension", "site", "bot"):
        bound.value(name, getattr(read, name))
    return _file("kept_visitors.sql")


_TEXTS: dict[type[Read], Callable[[Any, TextNumbers, Parameters], str]] = {
    SeriesRead: _series,
    BreakdownRead: _breakdown,
    TotalRead: _total,
    KeptVisitorsRead: _kept_visitors,
}


def _with(relations: dict[str, str], text: str) -> str:
    """A statement with relations before its own. Each is expanded where it is used, so
    that only the columns that are used there are read.
    """
    composed = "".join(f"{name} AS NOT MATERIALIZED ({sql}), " for name, sql in relations.items())
    return re.sub(r"^WITH\b", lambda _: f"WITH {composed}", text, count=1, flags=re.MULTILINE)


@cache
def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
