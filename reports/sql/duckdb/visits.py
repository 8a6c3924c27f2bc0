"""Statements about visits: those of a day made of its events, and what a question asks
of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from reports.plan import Parts, selection_of
from reports.query import Query
from reports.sql.duckdb.composed import composed
from reports.sql.duckdb.dimensions import dimension_sql
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
    NOT_REACHED,
    VISIT_COLUMNS,
    VisitDay,
    events_with_rows,
    go_on_sql,
)

_SUMS = "a.visits, a.bounces, a.views, a.duration_ms, NULL::BIGINT AS events, NULL::VARCHAR AS visitor"
_ONE_VISIT = (
    f"1::BIGINT AS visits, ({BOUNCED_SQL})::BIGINT AS bounces, a.views, {DURATION_MS_SQL} AS duration_ms, a.events, "
    "a.visitor"
)
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


def create_statements(
    of: VisitDay, own: Parts, following: Parts, went_on: Sequence[str], *, only_going_on: bool
) -> list[Statement]:
    """What makes the table `visits_of_day`; `only_going_on`: with those that go on on
    the following day at least. `went_on`: files with visits of the day before.
    """
    bound = Parameters()
    if only_going_on:
        days = ((own, "own"), (following, "following"))
        read = [events_with_rows(files_by_version(parts, bound, name)) for parts, name in days]
        # The rows of the two must not have the same numbers.
        later = f"(SELECT * REPLACE (-row AS row) FROM {read[1]})"
        events = of.going_on_sql(read[0], later)
    else:
        events = events_with_rows(files_by_version((*own, *following), bound, "archive"))
    reached = NOT_REACHED
    if went_on:
        rows = f"(FROM {parquet(bound.value('went_on', list(went_on)))} WHERE ended_at >= DATE '{of.day}')"
        reached = of.reached_sql(rows)
    return [_using(text, bound) for text in of.statements(events, reached)]


# The directory for what exceeds the memory.
SPILL = Statement("SELECT current_setting('temp_directory')", Parameters())
FORGET_DAY = Statement("DROP TABLE visits_of_day", Parameters())


def _using(text: str, bound: Parameters) -> Statement:
    """A statement with the parameters that it has."""
    used = Parameters(
        {name: value for name, value in bound.values.items() if f"${name}" in text},
        {name: parts for name, parts in bound.parts.items() if f"${name}" in text},
    )
    return Statement(text, used)


def kept_copy(path: str) -> Statement:
    """Writes `visits_of_day` to a file of the program's own."""
    return parquet_copy(Statement(f"SELECT {', '.join(VISIT_COLUMNS)} FROM visits_of_day", Parameters()), path)


def go_on_statement(files: Sequence[str], day: date) -> Statement:
    bound = Parameters()
    return Statement(go_on_sql(parquet(bound.value("files", list(files))), day), bound)


def numbers_statement(
    query: Query, sums: Parts, files: Sequence[str], values: Sequence[str | None] | None
) -> Statement:
    """Rows (is total, bucket, value, visits, bounces, views, duration in ms, events):
    of `values`, or of the `limit` values with the most visits; and the total of all.
    """
    bound, number = Parameters(), TextNumbers(keyed=True).number("value")
    relations = {"matching_visits": _matching(query, sums, files, bound)}
    if values is None:
        limit = bound.value("limit", query.limit)
        wanted = f"FROM counted GROUP BY number, value ORDER BY sum(visits) DESC, value LIMIT {limit}"
    else:
        given = bound.value("values", list(values))
        wanted = f", {number} AS number FROM (SELECT unnest({given}::VARCHAR[]) AS value)"
    wanted = f"SELECT value{wanted}" if values is not None else f"SELECT value, number {wanted}"
    return Statement(composed("visits.sql", relations, number=number, wanted=wanted), bound)


def visitors_statement(query: Query, files: Sequence[str]) -> Statement:
    """Rows (is total, bucket, value, visitors) of visits."""
    bound = Parameters()
    relations = {"matching_visits": _matching(query, (), files, bound)}
    number, visitor = TextNumbers(keyed=True).number("value"), TextNumbers(strong=True).number("visitor")
    return Statement(composed("visitors_of_visits.sql", relations, number=number, visitor=visitor), bound)


def _matching(query: Query, sums: Parts, files: Sequence[str], bound: Parameters) -> str:
    """(_COUNTED): quarters of an hour, and visits, that a question asks for."""
    sources = []
    if sums:
        value = "a.site" if query.by == SITE else "NULL::VARCHAR"
        sources.append(_counted(query, "bucket", parquet(bound.files("sums", sums)), value, _SUMS, bound))
    if files:
        value = dimension_sql(query.by, "by", bound) if query.by else "NULL::VARCHAR"
        visits = parquet(bound.value("files", list(files)))
        sources.append(_counted(query, "begun_at", visits, value, _ONE_VISIT, bound))
    return " UNION ALL ".join(sources) or f"FROM {empty_relation_sql(_COUNTED)}"


def _counted(query: Query, moment: str, rows: str, value: str, counts: str, bound: Parameters) -> str:
    starts = tuple(query.bucket_starts()) if query.interval != "none" else ()
    bucket, join = bucket_of(f"a.{moment}", starts, bound)
    matching = matches(selection_of(query), f"a.{moment}", bound)
    return f"SELECT {bucket} AS bucket, {value} AS value, {counts} FROM {rows} a {join} WHERE {matching}"
