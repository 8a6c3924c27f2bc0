"""The relations that the statements read: counters and archived events of a query, by
bucket and value.

Identifiers in the text are columns of shared/schema.py and counter_schema.py; text from
outside is bound.
"""

from __future__ import annotations

from datetime import UTC, datetime

from reports.plan import ArchiveScan, CappedValues, CounterScan, PartOfDay, Parts, Selection
from reports.query import PROPS, Condition
from reports.sql.statement import Parameters
from shared.generations.counter_schema import COUNTER_COLUMNS, DAY_SUM_SUFFIX, OTHER
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql, stored_events_sql
from shared.sql.texts import TextNumbers

_STRONG = TextNumbers(strong=True)


def matching_counters(scan: CounterScan, bound: Parameters) -> str:
    """(bucket, value, events): the rows of counters that a query sums."""
    selection = scan.selection
    value = {"event": "c.event", "site": "c.site", None: "NULL"}.get(scan.by, "c.value")
    sources = []
    if scan.day_sums:
        dimension = bound.value("day_sum_dimension", scan.dimension + DAY_SUM_SUFFIX)
        sources.append(f"FROM read_parquet({bound.files('day_sums', scan.day_sums)}) WHERE dimension = {dimension}")
    if scan.quarters:
        dimension = bound.value("dimension", scan.dimension)
        sources.append(
            f"FROM read_parquet({bound.files('quarters', scan.quarters)}) "
            f"WHERE dimension = {dimension} AND {_within('bucket', selection, bound)}"
        )
    source = f"({' UNION ALL '.join(sources)})" if sources else empty_relation_sql(COUNTER_COLUMNS)
    return (
        f"SELECT {_bucket(scan.bucket_starts)} AS bucket, {value} AS value, c.events "
        f"FROM {source} c {_bucket_join('c.bucket', scan.bucket_starts, bound)} "
        f"WHERE c.visitors IS NULL {_selected('c', selection, bound)}"
    )


def matching_events(scan: ArchiveScan, bound: Parameters) -> str:
    """(bucket, value, visitor): the archived events of a query."""
    selection = scan.selection
    value, capped_join = _value(scan, bound)
    # Parts hold the events of one UTC day: of whole days the times are not read.
    in_time = "true" if selection.is_whole_days else _within("a.time", selection, bound)
    conditions = "".join(_condition(number, each, bound) for number, each in enumerate(selection.conditions))
    return (
        f"SELECT {_bucket(scan.bucket_starts)} AS bucket, {value} AS value, a.visitor "
        f"FROM {archived_events(scan.parts, bound)} a {_bucket_join('a.time', scan.bucket_starts, bound)} "
        f"{capped_join} "
        f"WHERE {in_time} {_selected('a', selection, bound)}{conditions}"
    )


def archived_events(parts: Parts, bound: Parameters) -> str:
    """The events of archive parts, with ARCHIVE_COLUMNS."""
    if not parts:
        return empty_relation_sql(ARCHIVE_COLUMNS)
    by_version: dict[int, list[PartOfDay]] = {}
    for each in parts:
        by_version.setdefault(each.part.version, []).append(each)
    paths = {version: bound.files(f"archive_{version}", tuple(found)) for version, found in by_version.items()}
    return from_archive_sql(stored_events_sql(paths))


def utc_timestamp(moment: datetime) -> datetime:
    """As a TIMESTAMP column holds it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _bucket(bucket_starts: tuple[datetime, ...]) -> str:
    return "b.start" if bucket_starts else "NULL::TIMESTAMP"


def _bucket_join(moment: str, bucket_starts: tuple[datetime, ...], bound: Parameters) -> str:
    if not bucket_starts:
        return ""
    starts = bound.value("bucket_starts", [utc_timestamp(start) for start in bucket_starts])
    return f"ASOF JOIN (SELECT unnest({starts}::TIMESTAMP[]) AS start) b ON {moment} >= b.start"


def _value(scan: ArchiveScan, bound: Parameters) -> tuple[str, str]:
    """The SQL of the value that an event is counted under, and the join that it
    needs.
    """
    if scan.by is None:
        return "NULL", ""
    column = _column(scan.by, "by", bound)
    if scan.capped is None:
        return column, ""
    is_capped = f"list_contains({bound.value('capped_days', list(scan.capped.days))}::DATE[], a.time::DATE)"
    is_other = f"{column} IS NOT NULL AND k.number IS NULL AND {is_capped}"
    counted = _counted_values(scan.by, scan.capped, bound)
    join = f"LEFT JOIN {counted} k ON k.day = a.time::DATE AND k.number = {_STRONG.number(column)}"
    return f"CASE WHEN {is_other} THEN '{OTHER}' ELSE {column} END", join


def _counted_values(by: str, capped: CappedValues, bound: Parameters) -> str:
    """(day, number): the values that have rows of their own in the counters."""
    value = by if by in {"event", "site"} else "value"
    return (
        f"(SELECT DISTINCT bucket::DATE AS day, {_STRONG.number(value)} AS number "
        f"FROM read_parquet({bound.files('capped_counters', capped.counters)}) "
        f"WHERE dimension = {bound.value('capped_dimension', capped.dimension)} AND visitors IS NULL)"
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


def _condition(number: int, condition: Condition, bound: Parameters) -> str:
    column = _column(condition.field, f"key{number}", bound)
    if not condition.value:
        return f" AND {column} IS {'' if condition.equal else 'NOT'} NULL"
    # Only a plain comparison lets DuckDB skip row groups.
    operator = "=" if condition.equal else "IS DISTINCT FROM"
    return f" AND {column} {operator} {bound.value(f'value{number}', condition.value)}"


def _column(field: str, key: str, bound: Parameters) -> str:
    """A dimension, or a property, whose JSON pointer is bound as `key`."""
    if not field.startswith(PROPS):
        return f"a.{field}"
    pointer = "/" + field.removeprefix(PROPS).replace("~", "~0").replace("/", "~1")
    return f"json_extract_string(a.props, {bound.value(key, pointer)})"
