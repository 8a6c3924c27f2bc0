"""From a read of reports/plan.py to one DuckDB statement.

A `.sql` file begins with WITH. Its comment names the relations that it expects; here
they are put in front of its own, and by hand they can be views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reports.plan import (
    STRETCH_MAX_S,
    ArchiveScan,
    BreakdownRead,
    EngagedRead,
    EventsRead,
    KeptVisitorsRead,
    Read,
    Scan,
    SeriesRead,
    TotalRead,
    ValueQuantilesRead,
    ValueSumsRead,
)
from reports.sql.duckdb.buckets import utc_timestamp
from reports.sql.duckdb.composed import sql_file as _file
from reports.sql.duckdb.composed import with_relations as _with
from reports.sql.duckdb.relations import archived_events, matching_counters, matching_events
from reports.sql.statement import Parameters, Statement
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.memory import ROW_GROUP_BYTES
from shared.sql.texts import DICTIONARY_MAX, TextNumbers


def statement(read: Read, visitors: TextNumbers) -> Statement:
    """Events and values are counted by text, beside its number. Visitors are counted by
    their number in `visitors` alone, but for a total: its last column says whether a
    number stood for several of them. Then the other reads need strong numbers.
    """
    bound = Parameters()
    return Statement(_TEXTS[type(read)](read, visitors, bound), bound)


def events_statement(read: EventsRead) -> Statement:
    """The events of an export. It groups nothing."""
    bound = Parameters()
    text = f"SELECT {', '.join(ARCHIVE_COLUMNS)} FROM {exported(read, bound)} ORDER BY time, site, id"
    return Statement(text, bound)


def exported(read: EventsRead, bound: Parameters) -> str:
    """A relation of the events of an export."""
    start, end = (bound.value(name, utc_timestamp(getattr(read, name))) for name in ("start", "end"))
    of_site = f" AND site = {bound.value('of_site', read.site)}" if read.site is not None else ""
    return f"(FROM {archived_events(read.parts, bound)} WHERE time >= {start} AND time < {end}{of_site})"


def parquet_copy(events: Statement, path: str) -> Statement:
    """Writes the rows of a statement to a Parquet file. `path` is the program's own."""
    options = f"FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT {DICTIONARY_MAX}, "
    options += f"ROW_GROUP_SIZE_BYTES {ROW_GROUP_BYTES}"
    return Statement(f"COPY ({events.text}) TO '{path}' ({options})", events.parameters)


def _series(read: SeriesRead, visitors: TextNumbers, bound: Parameters) -> str:
    if isinstance(read.events, ArchiveScan):
        if read.visitors is None:
            return f"SELECT bucket, count(*), NULL FROM ({matching_events(read.events, bound)}) GROUP BY bucket"
        return _with({"visits": _visits(read.events, visitors, bound)}, _file("series_of_events.sql"))
    counters = matching_counters(read.events, bound)
    if read.visitors is None:
        return f"SELECT bucket, sum(events)::BIGINT, NULL FROM ({counters}) GROUP BY bucket"
    visits = _visits(read.visitors, visitors, bound)
    return _with({"matching_counters": counters, "visits": visits}, _file("series.sql"))


def _visits(scan: ArchiveScan, visitors: TextNumbers, bound: Parameters) -> str:
    """(bucket, visitor): the archived events of a query, with numbers for visitors."""
    return f"SELECT bucket, {visitors.number('visitor')} AS visitor FROM ({matching_events(scan, bound)}) m"


def _breakdown(read: BreakdownRead, visitors: TextNumbers, bound: Parameters) -> str:
    bound.value("limit", read.limit)
    numbers = TextNumbers(keyed=True)
    number = numbers.number("value")
    relations = {"counts": _counts(read.events, number, bound)}
    if read.shown is not None:
        is_shown = "c.number IS NOT DISTINCT FROM s.number AND c.value IS NOT DISTINCT FROM s.value"
        relations["counts"] = (
            f"SELECT c.* FROM ({relations['counts']}) c JOIN ({_shown(read.shown, numbers, bound)}) s ON {is_shown}"
        )
    if read.visitors is None:
        return _with(relations, _file("breakdown_events.sql"))
    events = matching_events(read.visitors, bound)
    visitor = visitors.number("visitor")
    relations["visits"] = f"SELECT bucket, {number} AS number, value, {visitor} AS visitor FROM ({events}) m"
    return _with(relations, _file("breakdown.sql"))


def _counts(scan: Scan, number: str, bound: Parameters) -> str:
    """(bucket, number, value, events) with the events summed."""
    if isinstance(scan, ArchiveScan):
        events, source = "count(*)", matching_events(scan, bound)
    else:
        events, source = "sum(events)::BIGINT", matching_counters(scan, bound)
    # In a subquery, or DuckDB leaves the number, which depends on the value, out of the
    # grouping.
    numbered = f"SELECT *, {number} AS number FROM ({source}) m"
    return (
        f"SELECT bucket, number, value, {events} AS events FROM ({numbered}) n "
        f"GROUP BY bucket, number, value HAVING {events} <> 0"
    )


def _total(read: TotalRead, visitors: TextNumbers, bound: Parameters) -> str:
    if not isinstance(read.events, ArchiveScan):
        return f"SELECT coalesce(sum(events), 0)::BIGINT, NULL, false FROM ({matching_counters(read.events, bound)})"
    events = matching_events(read.events, bound)
    if not read.with_visitors:
        return f"SELECT count(*), NULL, false FROM ({events})"
    number = visitors.number("visitor")
    return _with({"visits": f"SELECT visitor, {number} AS number FROM ({events}) m"}, _file("total.sql"))


def _value_sums(read: ValueSumsRead, _: TextNumbers, bound: Parameters) -> str:
    return _with(_amounts_and_shown(read, bound), _file("value_sums.sql"))


def _value_quantiles(read: ValueQuantilesRead, _: TextNumbers, bound: Parameters) -> str:
    return _with(_amounts_and_shown(read, bound), _file("value_quantiles.sql"))


def _amounts_and_shown(read: ValueSumsRead | ValueQuantilesRead, bound: Parameters) -> dict[str, str]:
    """The relations of value_sums.sql and value_quantiles.sql."""
    events = matching_events(read.events, bound, columns="a.value AS amount", where="a.value IS NOT NULL")
    numbers = TextNumbers(keyed=True)
    numbered = f"{numbers.number('value')} AS number, xor(hash(amount), {numbers.secret}) AS amount_number"
    return {"amounts": f"SELECT *, {numbered} FROM ({events}) m", "shown": _shown(read.shown, numbers, bound)}


def _shown(values: tuple[str | None, ...], numbers: TextNumbers, bound: Parameters) -> str:
    """(number, value): the dimension's values that are asked for."""
    shown = f"SELECT unnest({bound.value('shown', list(values))}::VARCHAR[]) AS value"
    return f"SELECT {numbers.number('value')} AS number, value FROM ({shown}) s"


def _engaged(read: EngagedRead, _: TextNumbers, bound: Parameters) -> str:
    numbers, visitors = TextNumbers(keyed=True), TextNumbers(strong=True)
    where = f"a.visitor IS NOT NULL AND a.value > 0 AND a.value <= {STRETCH_MAX_S}"
    events = matching_events(read.events, bound, columns="a.visitor, a.value AS seconds", where=where)
    columns = f"{numbers.number('value')} AS number, {visitors.number('visitor')} AS visitor"
    ms = "floor(seconds * 1000)::BIGINT AS ms"
    relations = {
        "stretches": f"SELECT bucket, value, {columns}, {ms} FROM ({events}) m",
        "shown": _shown(read.shown, numbers, bound),
    }
    return _with(relations, _file("engaged.sql"))


def _kept_visitors(read: KeptVisitorsRead, _: TextNumbers, bound: Parameters) -> str:
    bound.files("counters", read.counters)
    for name in ("dimension", "site", "bot"):
        bound.value(name, getattr(read, name))
    return _file("kept_visitors.sql")


_TEXTS: dict[type[Read], Callable[[Any, TextNumbers, Parameters], str]] = {
    SeriesRead: _series,
    BreakdownRead: _breakdown,
    TotalRead: _total,
    KeptVisitorsRead: _kept_visitors,
    ValueSumsRead: _value_sums,
    ValueQuantilesRead: _value_quantiles,
    EngagedRead: _engaged,
}
