"""Statements about visits: those of a day made of its events, and what a question asks
of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import NamedTuple

from reports.plan import Parts, selection_of
from reports.query import Query
from reports.sql.duckdb.composed import composed
from reports.sql.duckdb.dimensions import VISIT, dimension_sql, quoted
from reports.sql.duckdb.relations import bucket_of, files_by_version, matches
from reports.sql.duckdb.statements import parquet_copy
from reports.sql.statement import Parameters, Statement
from shared.generations.counter_schema import SITE
from shared.sql.archive_events import empty_relation_sql
from shared.sql.parquet import parquet
from shared.sql.texts import TextNumbers
from shared.sql.visits import (
    BOUNCED_SQL,
    DURATION_MS_SQL,
    NOT_CARRIED,
    VISIT_COLUMNS,
    VisitDay,
    events_with_rows,
    go_on_sql,
)

_SUMS = "a.visits, a.bounces, a.views, a.duration_ms, NULL::BIGINT AS events, NULL::VARCHAR AS visitor"
_ONE_VISIT = (
    f"1::BIGINT AS visits, ({BOUNCED_SQL})::BIGINT AS bounces, {VISIT}.views, {DURATION_MS_SQL} AS duration_ms, "
    f"{VISIT}.events, {VISIT}.visitor"
)


class VisitReads(NamedTuple):
    """Where the visits of a question are: sums in parts and in files of the program's
    own, and files with rows of visits.
    """

    sums: Parts = ()
    sum_files: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def with_reads(self, more: VisitReads) -> VisitReads:
        return VisitReads(self.sums + more.sums, self.sum_files + more.sum_files, self.files + more.files)


_COUNTED = {
    "bucket": "TIMESTAMP",
    "value": "VARCHAR",
    "visits": "BIGINT",
    "bounces": "BIGINT",
    "views": "BIGINT",
    "duration_ms": "BIGINT",
    "events": "BIGINT",
    "visitor": "VARCHAR",
}


def day_statements(of: VisitDay, own: Parts, carried: str | None, among: str = "") -> list[Statement]:
    """What makes the table `visits_of_day` of the events of a day. `carried`: SQL with
    visits that began on the day before, if there may be any.
    """
    bound = Parameters()
    events = events_with_rows(files_by_version(own, bound, "archive"))
    going_on = NOT_CARRIED if carried is None else of.carried_sql(carried)
    return [_using(text, bound) for text in of.statements(events, going_on, among)]


def going_on_statement(of: VisitDay, before: Parts, table: str, among: str) -> Statement:
    """Makes a table of what of the day before may go on (`VisitDay.going_on_sql`)."""
    bound = Parameters()
    events = events_with_rows(files_by_version(before, bound, "archive"))
    return Statement(f"CREATE OR REPLACE TEMP TABLE {table} AS {of.going_on_sql(events, among)}", bound)


def numbers_of(table: str, *, only_unsure: bool = False) -> str:
    """The numbers in a table of `going_on_statement`."""
    return f"(SELECT visit FROM {table}{' WHERE NOT is_sure' if only_unsure else ''})"


def count_unsure(table: str) -> Statement:
    return Statement(f"SELECT count(*) FROM {table} WHERE NOT is_sure", Parameters())


def keep_as(table: str, rows: str) -> Statement:
    return Statement(f"CREATE OR REPLACE TEMP TABLE {table} AS {rows}", Parameters())


def files_sql(files: Sequence[str]) -> str:
    """The visits in files of the program's own."""
    return parquet(f"[{', '.join(map(quoted, files))}]")


def forget_tables(tables: Iterable[str]) -> Iterator[Statement]:
    for name in tables:
        yield Statement(f"DROP TABLE IF EXISTS {name}", Parameters())


# The directory for what exceeds the memory.
SPILL = Statement("SELECT current_setting('temp_directory')", Parameters())


def _using(text: str, bound: Parameters) -> Statement:
    """A statement with the parameters that it has."""
    used = Parameters(
        {name: value for name, value in bound.values.items() if f"${name}" in text},
        {name: parts for name, parts in bound.parts.items() if f"${name}" in text},
    )
    return Statement(text, used)


def copy_of(rows: str, path: str) -> Statement:
    """Writes rows to a file of the program's own."""
    return parquet_copy(Statement(rows, Parameters()), path)


def rows_of_day(condition: str) -> str:
    return f"SELECT {', '.join(VISIT_COLUMNS)} FROM visits_of_day WHERE {condition}"


def go_on_statement(visits: str, day: date) -> Statement:
    return Statement(go_on_sql(visits, day), Parameters())


def numbers_statement(query: Query, read: VisitReads, values: Sequence[str | None] | None) -> Statement:
    """Rows (is total, bucket, value, visits, bounces, views, duration in ms, events):
    of `values`, or of the `limit` values with the most visits; and the total of all.
    """
    bound, number = Parameters(), TextNumbers(keyed=True).number("value")
    relations = {"matching_visits": _matching(query, read, bound)}
    if values is None:
        limit = bound.value("limit", query.limit)
        wanted = f"FROM counted GROUP BY number, value ORDER BY sum(visits) DESC, value LIMIT {limit}"
    else:
        given = bound.value("values", list(values))
        wanted = f", {number} AS number FROM (SELECT unnest({given}::VARCHAR[]) AS value)"
    wanted = f"SELECT value{wanted}" if values is not None else f"SELECT value, number {wanted}"
    return Statement(composed("visits.sql", relations, number=number, wanted=wanted), bound)


def visitors_statement(query: Query, read: VisitReads) -> Statement:
    """Rows (is total, bucket, value, visitors) of visits."""
    bound = Parameters()
    relations = {"matching_visits": _matching(query, VisitReads(files=read.files), bound)}
    number, visitor = TextNumbers(keyed=True).number("value"), TextNumbers(strong=True).number("visitor")
    return Statement(composed("visitors_of_visits.sql", relations, number=number, visitor=visitor), bound)


def _matching(query: Query, read: VisitReads, bound: Parameters) -> str:
    """(_COUNTED): quarters of an hour, and visits, that a question asks for."""
    sums = [parquet(bound.files("sums", read.sums))] if read.sums else []
    sums += [parquet(bound.value("sum_files", list(read.sum_files)))] if read.sum_files else []
    site = "a.site" if query.by == SITE else "NULL::VARCHAR"
    sources = [_counted(query, "a", "bucket", each, site, _SUMS, bound) for each in sums]
    if read.files:
        value = dimension_sql(query.by, "by", bound, VISIT) if query.by else "NULL::VARCHAR"
        visits = parquet(bound.value("files", list(read.files)))
        sources.append(_counted(query, VISIT, "begun_at", visits, value, _ONE_VISIT, bound))
    return " UNION ALL ".join(sources) or f"FROM {empty_relation_sql(_COUNTED)}"


def _counted(query: Query, table: str, moment: str, rows: str, value: str, counts: str, bound: Parameters) -> str:
    starts = tuple(query.bucket_starts()) if query.interval != "none" else ()
    bucket, join = bucket_of(f"{table}.{moment}", starts, query.end, bound)
    matching = matches(selection_of(query), table, f"{table}.{moment}", bound)
    return f"SELECT {bucket} AS bucket, {value} AS value, {counts} FROM {rows} {table} {join} WHERE {matching}"
