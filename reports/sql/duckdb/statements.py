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


def statement(read: Read) -> Statement:
    bound = Parameters()
    return Statement(_TEXTS[type(read)](read, bound), bound)


def parquet_copy(events: Statement, path: str) -> Statement:
    """Writes the rows of a statement to a Parquet file. `path` is the program's own."""
    return Statement(f"COPY ({events.text}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)", events.parameters)


def _series(read: SeriesRead, bound: Parameters) -> str:
    if isinstance(read.events, ArchiveScan):
        visitors = "count(DISTINCT visitor)" if read.visitors else "NULL"
        return f"SELECT bucket, count(*), {visitors} FROM ({matching_events(read.events, bound)}) GROUP BY bucket"
    if read.visitors is None:
        events = matching_counters(read.events, bound)
        return f"SELECT bucket, sum(events)::BIGINT, NULL FROM ({events}) GROUP BY bucket"
    counters, events = matching_counters(read.events, bound), matching_events(read.visitors, bound)
    return _with({"matching_counters": counters, "matching_events": events}, _file("series.sql"))


def _breakdown(read: BreakdownRead, bound: Parameters) -> str:
    bound.value("limit", read.limit)
    relations = {"counts": _counts(read.events, bound)}
    if read.visitors is None:
        return _with(relations, _file("breakdown_events.sql"))
    relations["matching_events"] = matching_events(read.visitors, bound)
    return _with(relations, _file("breakdown.sql"))


def _counts(scan: Scan, bound: Parameters) -> str:
    """(bucket, value, events) with the events summed."""
    if isinstance(scan, ArchiveScan):
        return f"SELECT bucket, value, count(*) AS events FROM ({matching_events(scan, bound)}) GROUP BY ALL"
    return f"SELECT bucket, value, sum(events)::BIGINT AS events FROM ({matching_counters(scan, bound)}) GROUP BY ALL"


def _total(read: TotalRead, bound: Parameters) -> str:
    if isinstance(read.events, ArchiveScan):
        visitors = "count(DISTINCT visitor)" if read.with_visitors else "NULL"
        return f"SELECT count(*), {visitors} FROM ({matching_events(read.events, bound)})"
    return f"SELECT coalesce(sum(events), 0)::BIGINT, NULL FROM ({matching_counters(read.events, bound)})"


def _kept_visitors(read: KeptVisitorsRead, bound: Parameters) -> str:
    bound.files("counters", read.counters)
    for name in ("dimension", "site", "bot"):
        bound.value(name, getattr(read, name))
    return _file("kept_visitors.sql")


def _events(read: EventsRead, bound: Parameters) -> str:
    start, end = (bound.value(name, utc_timestamp(getattr(read, name))) for name in ("start", "end"))
    source = archived_events(read.parts, bound)
    return (
        f"SELECT {', '.join(ARCHIVE_COLUMNS)} FROM {source} "
        f"WHERE time >= {start} AND time < {end} ORDER BY time, site, id"
    )


_TEXTS: dict[type[Read], Callable[[Any, Parameters], str]] = {
    SeriesRead: _series,
    BreakdownRead: _breakdown,
    TotalRead: _total,
    KeptVisitorsRead: _kept_visitors,
    EventsRead: _events,
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
