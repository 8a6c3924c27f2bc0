"""From a read of reports/plan.py to one DuckDB statement.

A `.sql` file begins with WITH. Its comment names the relations that it expects; here
they are put in front of its own, and by hand they can be views.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from reports.plan import ArchiveScan, BreakdownRead, EventsRead, KeptVisitorsRead, Read, Scan, SeriesRead, TotalRead
from reports.sql.duckdb.relations import archived_events, matching_counters, matching_events, utc_timestamp
from reports.sql.statement import Parameters, Statement
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.texts import DICTIONARY_MAX, TextNumbers

_STRONG = TextNumbers(strong=True)


@dataclass(frozen=True)
class Grouping:
    """By which numbers a statement groups the texts of values and of visitors."""

    values: TextNumbers
    visitors: TextNumbers


def statement(read: Read, by: Grouping) -> Statement:
    """Texts are grouped by number. The last column of a breakdown says whether a number
    of `by` stood for several values, that of a total whether one stood for several
    visitors: then the rows of all reads may be wrong, and strong numbers are needed.
    """
    bound = Parameters()
    return Statement(_TEXTS[type(read)](read, by, bound), bound)


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


# By rows, a row group of fat events would exceed any memory.
ROW_GROUP_BYTES = 16 << 20


def parquet_copy(events: Statement, path: str) -> Statement:
    """Writes the rows of a statement to a Parquet file. `path` is the program's own."""
    options = f"FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT {DICTIONARY_MAX}, "
    options += f"ROW_GROUP_SIZE_BYTES {ROW_GROUP_BYTES}"
    return Statement(f"COPY ({events.text}) TO '{path}' ({options})", events.parameters)


def _series(read: SeriesRead, by: Grouping, bound: Parameters) -> str:
    if isinstance(read.events, ArchiveScan):
        if read.visitors is None:
            return f"SELECT bucket, count(*), NULL FROM ({matching_events(read.events, bound)}) GROUP BY bucket"
        return _with({"visits": _visits(read.events, by, bound)}, _file("series_of_events.sql"))
    counters = matching_counters(read.events, bound)
    if read.visitors is None:
        return f"SELECT bucket, sum(events)::BIGINT, NULL FROM ({counters}) GROUP BY bucket"
    return _with({"matching_counters": counters, "visits": _visits(read.visitors, by, bound)}, _file("series.sql"))


def _breakdown(read: BreakdownRead, by: Grouping, bound: Parameters) -> str:
    bound.value("limit", read.limit)
    if isinstance(read.events, ArchiveScan):
        by = replace(by, values=_STRONG)  # the values may be many and long
    relations = {"counts": _counts(read.events, by.values, bound)}
    if read.visitors is None:
        return _with(relations, _file("breakdown_events.sql"))
    return _with(relations | {"visits": _visits(read.visitors, by, bound)}, _file("breakdown.sql"))


def _counts(scan: Scan, numbers: TextNumbers, bound: Parameters) -> str:
    """(bucket, number, value, events, is_ambiguous) with the events summed."""
    if isinstance(scan, ArchiveScan):
        events, source = "count(*)", matching_events(scan, bound)
    else:
        events, source = "sum(events)::BIGINT", matching_counters(scan, bound)
    return (
        f"SELECT bucket, {numbers.number('value')} AS number, min(value) AS value, {events} AS events, "
        f"{numbers.is_ambiguous('value')} AS is_ambiguous FROM ({source}) m GROUP BY bucket, number "
        f"HAVING {events} <> 0"
    )


def _visits(scan: ArchiveScan, by: Grouping, bound: Parameters) -> str:
    """(bucket, number, visitor): the archived events of a query, with numbers for value
    and visitor.
    """
    number = "NULL" if scan.by is None else by.values.number("value")
    visitor = by.visitors.number("visitor")
    return f"SELECT bucket, {number} AS number, {visitor} AS visitor FROM ({matching_events(scan, bound)}) m"


def _total(read: TotalRead, by: Grouping, bound: Parameters) -> str:
    if not isinstance(read.events, ArchiveScan):
        return f"SELECT coalesce(sum(events), 0)::BIGINT, NULL, false FROM ({matching_counters(read.events, bound)})"
    events = matching_events(read.events, bound)
    if not read.with_visitors:
        return f"SELECT count(*), NULL, false FROM ({events})"
    visitor, fast = _STRONG.number("visitor"), by.visitors.number("visitor")
    return _with({"visits": f"SELECT {visitor} AS visitor, {fast} AS fast FROM ({events}) m"}, _file("total.sql"))


def _kept_visitors(read: KeptVisitorsRead, _by: Grouping, bound: Parameters) -> str:
    bound.files("counters", read.counters)
    for name in ("dimension", "site", "bot"):
        bound.value(name, getattr(read, name))
    return _file("kept_visitors.sql")


_TEXTS: dict[type[Read], Callable[[Any, Grouping, Parameters], str]] = {
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
