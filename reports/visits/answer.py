"""What a report says of visits: sums of each row and of the total, and the measures
that follow from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import duckdb

from reports.measures.names import VISIT_MEASURES
from reports.plan import Days, as_utc
from reports.query import Query
from reports.rows import Row, local_time
from reports.sql.duckdb.visits import numbers_statement, visitors_statement
from reports.sql.statement import Statement
from reports.visits.days import plan_visits
from reports.visits.made import OpenParts, VisitFiles, VisitsNotMade, room_for_visits
from shared.duckdb_engine import one_thread
from shared.generations.counter_schema import OTHER

# When a bucket begins, None without an interval; and the value.
Key = tuple[datetime | None, str | None]


class Sums(NamedTuple):
    """Of visits. `visitors` only where all that a report counts is of visits."""

    visits: int = 0
    bounces: int = 0
    views: int = 0
    duration_ms: int = 0
    events: int = 0
    visitors: int = 0


class VisitAnswer(NamedTuple):
    """By bucket and value, in order, and of all. With a `reason` they are not known."""

    rows: dict[Key, Sums]
    total: Sums
    reason: str | None = None


def answer_visits(
    database: duckdb.DuckDBPyConnection,
    days: Days,
    open_parts: OpenParts,
    query: Query,
    values: Sequence[str | None] | None,
) -> VisitAnswer:
    """`values`: those of which rows are wanted; None for the `limit` values with the
    most visits. Raises what `open_parts` raises.
    """
    plan = plan_visits(query, days)
    if plan.reason is not None:
        return VisitAnswer({}, Sums(), plan.reason)
    with room_for_visits(database) as room:
        files = VisitFiles(database, open_parts, room, query.home, plan)
        try:
            reads = files.collect()
            found = _fetch(database, open_parts, numbers_statement(query, reads, values))
            counts_visitors = query.is_of_visits and "visitors" in query.measures
            visitors = _fetch(database, open_parts, visitors_statement(query, reads)) if counts_visitors else []
        except VisitsNotMade as error:
            return VisitAnswer({}, Sums(), error.reason)
        finally:
            files.forget()
    return _answer(found, {(is_total, start, value): count for is_total, start, value, count in visitors})


def _answer(found: list[tuple[Any, ...]], visitors: dict[Any, int]) -> VisitAnswer:
    rows: dict[Key, Sums] = {}
    total = Sums()
    for is_total, start, value, *sums in sorted(found, key=_order):
        visits, bounces, views, duration_ms, events = (each or 0 for each in sums)
        counted = Sums(visits, bounces, views, duration_ms, events, visitors.get((is_total, start, value), 0))
        if is_total:
            total = counted
        else:
            rows[as_utc(start) if start else None, value] = counted
    return VisitAnswer(rows, total)


def _order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    is_total, start, value, visits, *_ = row
    return is_total, start or datetime.min, -(visits or 0), value is None, value or ""  # noqa: DTZ901


def measures_of(query: Query, sums: Sums | None) -> Row:
    """The measures of visits that are asked for; None where they are not known. Without
    a visit there is nothing to divide by.
    """
    known = sums is not None
    visits = sums.visits if sums else 0
    found: Row = {
        "visits": visits if known else None,
        "views_per_visit": round(sums.views / visits, 4) if sums and visits else None,
        "bounce_rate": round(sums.bounces / visits, 4) if sums and visits else None,
        "visit_duration": round(sums.duration_ms / visits / 1000, 3) if sums and visits else None,
    }
    return {name: found[name] for name in query.measures if name in VISIT_MEASURES}


def rows_of_visits(query: Query, found: VisitAnswer) -> tuple[list[Row], Row]:
    """Rows and total of a report that counts visits alone."""
    known = found.reason is None
    total = _of_visits(query, found.total if known else None)
    if not known:
        return [], total
    if query.by is None and query.interval != "none":
        rows = [
            {"time": local_time(start, query)} | _of_visits(query, found.rows.get((start, None), Sums()))
            for start in query.bucket_starts()
        ]
        return rows, total
    if query.by is None:
        return [total], total
    return [_labels(query, key) | _of_visits(query, sums) for key, sums in found.rows.items()], total


def _labels(query: Query, key: Key) -> Row:
    start, value = key
    return ({"time": local_time(start, query)} if start else {}) | {"value": value}


def _of_visits(query: Query, sums: Sums | None) -> Row:
    counted: Row = {"events": sums.events if sums else None, "visitors": sums.visitors if sums else None}
    found = counted | measures_of(query, sums)
    return {name: found[name] for name in query.measures if name in found}


def with_visits(query: Query, found: VisitAnswer, rows: list[Row], total: Row) -> tuple[list[Row], Row]:
    """Rows and total of a report about events, with the measures of visits."""
    known = found.reason is None
    starts = {local_time(start, query): start for start in query.bucket_starts()} if query.interval != "none" else {}

    def sums(row: Row) -> Sums | None:
        if not known or row.get("value") == OTHER:  # visits have the values that are behind it
            return None
        return found.rows.get((starts[row["time"]] if "time" in row else None, row.get("value")), Sums())

    shown = [_in_order(query, row | measures_of(query, sums(row))) for row in rows]
    return shown, _in_order(query, total | measures_of(query, found.total if known else None))


def _in_order(query: Query, row: Row) -> Row:
    labels = {name: row[name] for name in ("time", "value") if name in row}
    return labels | {name: row[name] for name in query.measures if name in row}


def _fetch(database: duckdb.DuckDBPyConnection, open_parts: OpenParts, sql: Statement) -> list[tuple[Any, ...]]:
    paths = {name: open_parts(parts) for name, parts in sql.parameters.parts.items()}
    values = sql.parameters.values | paths
    try:
        return database.execute(sql.text, values).fetchall()
    except duckdb.OutOfMemoryException:
        with one_thread(database):
            return database.execute(sql.text, values).fetchall()
