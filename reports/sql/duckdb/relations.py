"""The relations that the statements read: counters and archived events of a query, by
bucket and value.

Identifiers in the text are columns of shared/schema.py and counter_schema.py; text from
outside is bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise

from reports.filters import Condition
from reports.plan import ArchiveScan, CappedValues, CounterScan, PartOfDay, Parts, Selection
from reports.sql.duckdb.buckets import bucket_join, utc_timestamp
from reports.sql.duckdb.conditions import condition_sql
from reports.sql.duckdb.dimensions import dimension_sql
from reports.sql.statement import Parameters
from shared.generations.counter_schema import COUNTER_COLUMNS, DAY_ROWS_SUFFIX, EVENT, OTHER, TOTAL
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql, stored_events_sql
from shared.sql.counters import counters_sql
from shared.sql.texts import TextNumbers

_NUMBERS = TextNumbers(keyed=True)


def matching_counters(scan: CounterScan, bound: Parameters) -> str:
    """(bucket, value, events): the rows of counters that a query sums, and events of
    the archive where these have none.
    """
    selection = scan.selection
    value = {"event": "c.event", "site": "c.site", None: "NULL::VARCHAR"}.get(scan.by, "c.value")
    source = " UNION ALL ".join(_counter_sources(scan, bound)) or f"FROM {empty_relation_sql(COUNTER_COLUMNS)}"
    counters = (
        f"SELECT {_bucket(scan.bucket_starts)} AS bucket, {value} AS value, c.events "
        f"FROM ({source}) c {_bucket_join('c.bucket', scan.bucket_starts, selection.end, bound)} "
        f"WHERE c.visitors IS NULL {_selected('c', selection, bound)}"
    )
    for name, edge, weight in (("edges", scan.edges, 1), ("removed", scan.removed, -1)):
        if edge is not None:
            counters += f" UNION ALL SELECT bucket, value, {weight} FROM ({matching_events(edge, bound, name)})"
    return counters


def _counter_sources(scan: CounterScan, bound: Parameters) -> Iterator[str]:
    if scan.quarters:
        dimension, within = bound.value("dimension", scan.dimension), _within("bucket", scan.selection, bound)
        yield f"FROM {counters(scan.quarters, bound, 'quarters')} WHERE dimension = {dimension} AND {within}"
    if scan.day_rows:
        dimension = bound.value("dimension_by_day", scan.dimension + DAY_ROWS_SUFFIX)
        cuts, places = (bound.value(name, list(map(utc_timestamp, getattr(scan, name)))) for name in ("cuts", "places"))
        rows = f"SELECT unnest({cuts}::TIMESTAMP[]) AS cut, unnest({places}::TIMESTAMP[]) AS place"
        found = f"FROM {counters(scan.day_rows, bound, 'day_rows')} c JOIN ({rows}) r ON c.bucket = r.cut"
        columns = ", ".join("place AS bucket" if name == "bucket" else name for name in COUNTER_COLUMNS)
        yield f"SELECT {columns} {found} WHERE dimension = {dimension}"
    if scan.remainder:
        within = _within("bucket", scan.selection, bound)
        rows = f"{counters(scan.remainder, bound, 'remainder')} WHERE visitors IS NULL AND {within}"
        whole = EVENT if scan.selection.event is not None else TOTAL
        for name, sign in ((whole, ""), (scan.dimension, "-")):
            names = bound.value(f"remainder_of_{name}", [name, name + DAY_ROWS_SUFFIX])
            changed = f"'{OTHER}' AS {'event' if scan.by == EVENT else 'value'}, {sign}events AS events"
            yield f"SELECT * REPLACE ({changed}) FROM {rows} AND list_contains({names}::VARCHAR[], dimension)"


def counters(parts: Parts, bound: Parameters, name: str) -> str:
    """The rows of counters parts, with COUNTER_COLUMNS."""
    return counters_sql(files_by_version(parts, bound, name))


def matching_events(
    scan: ArchiveScan, bound: Parameters, name: str = "archive", columns: str = "a.visitor", where: str = "true"
) -> str:
    """(bucket, value, and `columns` of the archive `a`): the archived events of a
    query. `name`: of the parameters with its parts. `where`: SQL of what they must
    satisfy besides.
    """
    selection = scan.selection
    value, capped_join = _value(scan, bound)
    moment = "a.time" if scan.places is None else "s.place"
    conditions = "".join(
        f" AND {condition_sql(each, f'condition{number}', bound)}" for number, each in enumerate(selection.conditions)
    )
    return (
        f"SELECT {_bucket(scan.bucket_starts)} AS bucket, {value} AS value, {columns} "
        f"FROM {archived_events(scan.parts, bound, name)} a {_spans_join(scan, bound, name)} "
        f"{_bucket_join(moment, scan.bucket_starts, selection.end, bound)} {capped_join} "
        f"WHERE {_in_time(scan, bound, name)} {_selected('a', selection, bound)}{conditions} AND {where}"
    )


def _spans_join(scan: ArchiveScan, bound: Parameters, name: str) -> str:
    """The join of events with the span that they are in. Each is in one UTC day, so
    that an event is compared with few of them.
    """
    if scan.spans is None or _is_one_time(scan):
        return ""
    columns = {
        "since": [start for start, _ in scan.spans],
        "until": [end for _, end in scan.spans],
        "place": scan.places or [start for start, _ in scan.spans],
    }
    lists = (
        f"unnest({bound.value(f'{name}_{column}', list(map(utc_timestamp, moments)))}::TIMESTAMP[]) AS {column}"
        for column, moments in columns.items()
    )
    spans = f"SELECT {', '.join(lists)}"
    return f"JOIN ({spans}) s ON a.time::DATE = s.since::DATE AND a.time >= s.since AND a.time < s.until"


def _is_one_time(scan: ArchiveScan) -> bool:
    """Whether the spans are one without a gap, and events in the bucket of their time.
    Only a plain comparison lets DuckDB skip row groups.
    """
    spans = scan.spans or ()
    return scan.places is None and all(left[1] == right[0] for left, right in pairwise(spans))


def _in_time(scan: ArchiveScan, bound: Parameters, name: str) -> str:
    if scan.spans is None:
        # Parts hold the events of one UTC day: of whole days the times are not read.
        return "true" if scan.selection.is_whole_days else _within("a.time", scan.selection, bound)
    if not _is_one_time(scan):
        return "true"
    since, until = (
        bound.value(f"{name}_{side}", utc_timestamp(moment))
        for side, moment in (("since", scan.spans[0][0]), ("until", scan.spans[-1][1]))
    )
    return f"a.time >= {since} AND a.time < {until}"


def matches(selection: Selection, table: str, moment: str, bound: Parameters) -> str:
    """SQL of whether a row of `table`, with columns of events or of visits, is asked
    for.
    """
    found = all_hold(selection.conditions, bound, table=table)
    return f"{_within(moment, selection, bound)} {_selected(table, selection, bound)} AND {found}"


def bucket_of(moment: str, bucket_starts: tuple[datetime, ...], until: datetime, bound: Parameters) -> tuple[str, str]:
    """SQL of the bucket of a moment before `until`, and the join that it needs."""
    return _bucket(bucket_starts), _bucket_join(moment, bucket_starts, until, bound)


def archived_events(parts: Parts, bound: Parameters, name: str = "archive") -> str:
    """The events of archive parts, with ARCHIVE_COLUMNS."""
    if not parts:
        return empty_relation_sql(ARCHIVE_COLUMNS)
    return from_archive_sql(stored_events_sql(files_by_version(parts, bound, name)))


def selected_events(selection: Selection, bound: Parameters) -> str:
    """SQL of whether an event `a` is of the time, bots, event and site of a selection.
    Its conditions are `all_hold`.
    """
    return f"{_within('a.time', selection, bound)} {_selected('a', selection, bound)}"


def all_hold(conditions: Iterable[Condition], bound: Parameters, first: int = 0, table: str = "a") -> str:
    """SQL of whether an event `a` has all of these conditions. `first`: a number from
    which on the names of their parameters are free.
    """
    found = (condition_sql(each, f"condition{number}", bound, table) for number, each in enumerate(conditions, first))
    return " AND ".join(("true", *found))


def files_by_version(parts: Parts, bound: Parameters, name: str) -> dict[int, str]:
    """By version of the parts, the placeholder of a list of their paths."""
    by_version: dict[int, list[PartOfDay]] = {}
    for each in parts:
        by_version.setdefault(each.part.version, []).append(each)
    return {version: bound.files(f"{name}_{version}", tuple(found)) for version, found in by_version.items()}


def _bucket(bucket_starts: tuple[datetime, ...]) -> str:
    return "b.start" if bucket_starts else "NULL::TIMESTAMP"


def _bucket_join(moment: str, bucket_starts: tuple[datetime, ...], until: datetime, bound: Parameters) -> str:
    return bucket_join(moment, bucket_starts, until, bound) if bucket_starts else ""


def _value(scan: ArchiveScan, bound: Parameters) -> tuple[str, str]:
    """The SQL of the value that an event is counted under, and the join that it
    needs.
    """
    if scan.by is None:
        return "NULL", ""
    column = dimension_sql(scan.by, "by", bound)
    if scan.capped is None:
        return column, ""
    is_capped = f"list_contains({bound.value('capped_days', list(scan.capped.days))}::DATE[], a.time::DATE)"
    is_other = f"{column} IS NOT NULL AND k.number IS NULL AND {is_capped}"
    counted = _counted_values(scan.by, scan.capped, bound)
    join = (
        f"LEFT JOIN {counted} k ON k.day = a.time::DATE AND k.number = {_NUMBERS.number(column)} AND k.value = {column}"
    )
    return f"CASE WHEN {is_other} THEN '{OTHER}' ELSE {column} END", join


def _counted_values(by: str, capped: CappedValues, bound: Parameters) -> str:
    """(day, number, value): the values that have rows of their own in the counters."""
    value = by if by in {"event", "site"} else "value"
    names = bound.value("capped_dimensions", [capped.dimension, capped.dimension + DAY_ROWS_SUFFIX])
    return (
        f"(SELECT DISTINCT bucket::DATE AS day, {_NUMBERS.number(value)} AS number, {value} AS value "
        f"FROM {counters(capped.counters, bound, 'capped_counters')} "
        f"WHERE list_contains({names}::VARCHAR[], dimension) AND visitors IS NULL)"
    )


def _selected(table: str, selection: Selection, bound: Parameters) -> str:
    sql = {"exclude": f"AND NOT {table}.bot", "only": f"AND {table}.bot", "include": ""}[selection.bots]
    if selection.event is not None:
        sql += f" AND {table}.event = {bound.value('event', selection.event)}"
    if selection.site is not None:
        sql += f" AND {table}.site = {bound.value('site', selection.site)}"
    return sql


def _within(moment: str, selection: Selection, bound: Parameters) -> str:
    start = bound.value("start", utc_timestamp(selection.start))
    end = bound.value("end", utc_timestamp(selection.end))
    return f"{moment} >= {start} AND {moment} < {end}"
