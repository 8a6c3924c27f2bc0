"""A report: query → plan → SQL → rows. Everything but the reading is pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import duckdb

from reports.compared_rows import with_previous
from reports.kinds import KindPlan, NamedKind, kind_of, named_kind
from reports.kinds.funnel import FunnelPlan, FunnelRead, is_ambiguous, within_visits
from reports.measures.families import reasons
from reports.plan import Days, HostDay, Parts, Plan, Read, TotalRead, days_of, days_within, of_shown
from reports.query import Query
from reports.rows import Row, no_answer, with_header
from reports.sql.duckdb import kind_statement, statement
from reports.sql.statement import Statement
from reports.visits.answer import answer_visits, rows_of_visits, with_visits
from reports.visits.of_events import visits_of_events
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import one_thread
from shared.generations.part_integrity import verified_part
from shared.generations.snapshot import Snapshot
from shared.sql.texts import TextNumbers

# The paths of parts whose bytes have been verified, in the same order.
OpenParts = Callable[[Parts], list[str]]


class Source(NamedTuple):
    """What a question is answered from: days that it touches, and where their parts
    are. The rest is for the header of the answer, but `all_days`.
    """

    days: Days
    open_parts: OpenParts
    generation: int
    as_of: str
    hosts: Sequence[Row] | None = None
    # All days, of which visits depend on more than the question touches.
    all_days: Days = ()
    # What was read already, of what reports of one question have in common.
    known: dict[Read, list[tuple[Any, ...]]] | None = None


def source_of(data: DataDirectory, snapshot: Snapshot, query: Query) -> Source:
    """A snapshot of this directory."""

    def open_parts(parts: Parts) -> list[str]:
        return [str(verified_part(data, each.kind, each.day, each.part)) for each in parts]

    all_days = [HostDay(day, kept) for day, kept in snapshot.days.items()] if query.asks_visits else ()
    return Source(days_of(snapshot, query), open_parts, snapshot.generation, snapshot.as_of, all_days=all_days)


def make_report(database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, query: Query) -> Row:
    """The report of a snapshot as it is answered. Raises PartDamaged."""
    return report_of(database, source_of(data, snapshot, query), query)


def report_of(database: duckdb.DuckDBPyConnection, source: Source, query: Query) -> Row:
    """The report of a source. Raises what its `open_parts` raises."""
    if named := named_kind(query):
        return _named_report(database, source, query, named)
    return with_previous(query, lambda asked: _report_of_counts(database, source, asked))


def _report_of_counts(database: duckdb.DuckDBPyConnection, source: Source, query: Query) -> Row:
    """The report of one of the times that a question compares."""
    if not query.asks_events:
        plan, rows, total, missing = Plan(query, (), (), ()), list[Row](), Row(), list[str]()
    else:
        plan, rows, total, missing = _of_events(database, source, query)
    if query.asks_visits:
        # Rows of values of events are those with the most events.
        values = [row["value"] for row in rows] if query.asks_events and query.by else query.values
        found = answer_visits(database, source.all_days, source.open_parts, query, values)
        rows, total = with_visits(query, found, rows, total) if query.asks_events else rows_of_visits(query, found)
        missing = [*missing, *([found.reason] if found.reason else [])]
    return with_header(plan, rows, total, source.generation, source.as_of, source.hosts, missing)


def _of_events(
    database: duckdb.DuckDBPyConnection, source: Source, query: Query
) -> tuple[Plan, list[Row], Row, list[str]]:
    """The plan, rows and total of what is counted of events, and why some of it is
    missing.
    """
    kind = kind_of(query)
    plan = kind.plan(query, days_within(source.days, query))
    fetched: dict[str, list[tuple[Any, ...]]] = {}
    # Numbers of visitors may be ambiguous where no total has looked at all visitors.
    is_checked = plan.total is not None and plan.total.with_visitors
    visitors = TextNumbers(keyed=is_checked, strong=not is_checked)
    for name, read in plan.reads.items():
        asked = of_shown(read, fetched.get("groups", ()))
        known = source.known.get(read) if source.known else None
        fetched[name] = fetch(database, source.open_parts, statement(asked, visitors)) if known is None else known
        if isinstance(read, TotalRead) and source.known is not None:
            source.known[read] = fetched[name]
        if isinstance(read, TotalRead) and fetched[name][0][-1]:
            visitors = TextNumbers(strong=True)
    rows, total = kind.shape(plan, fetched) if plan.has_answer else no_answer(plan)
    return plan, rows, total, reasons(plan, [total, *rows]) if plan.has_answer else []


def _named_report(database: duckdb.DuckDBPyConnection, source: Source, query: Query, kind: NamedKind) -> Row:
    """The report of a kind with a name."""
    plan = kind.plan(query, source.days)
    if isinstance(plan, FunnelPlan) and plan.query.window is None and plan.reads:
        with visits_of_events(database, source.all_days, source.open_parts, query) as visits:
            found = within_visits(plan, visits.files, visits.reason)
            return with_source(kind.shape(found, _fetch_of_plan(database, source, found)), query, source)
    return with_source(kind.shape(plan, _fetch_of_plan(database, source, plan)), query, source)


def _fetch_of_plan(database: duckdb.DuckDBPyConnection, source: Source, plan: KindPlan) -> dict[str, Any]:
    return {name: _fetch_of_kind(database, source.open_parts, read) for name, read in plan.reads.items()}


def _fetch_of_kind(database: duckdb.DuckDBPyConnection, open_parts: OpenParts, read: Any) -> list[tuple[Any, ...]]:
    """Once more, where a number stood for several visitors."""
    found = fetch(database, open_parts, kind_statement(read))
    if isinstance(read, FunnelRead) and is_ambiguous(found):
        return fetch(database, open_parts, kind_statement(replace(read, is_strong=True)))
    return found


def with_source(report: Row, query: Query, source: Source) -> Row:
    """A report of a kind with a name, with that name and what it is from."""
    hosts = {} if source.hosts is None else {"hosts": list(source.hosts)}
    of = {"generation": source.generation, "as_of": source.as_of}
    return {"kind": getattr(query, "kind", ""), **report, **of, **hosts}


def fetch(database: duckdb.DuckDBPyConnection, open_parts: OpenParts, sql: Statement) -> list[tuple[Any, ...]]:
    """All rows; with one thread where more of them do not get along with the memory."""
    try:
        return execute(database, open_parts, sql).fetchall()
    except duckdb.OutOfMemoryException:
        with one_thread(database):
            return execute(database, open_parts, sql).fetchall()


def execute(database: duckdb.DuckDBPyConnection, open_parts: OpenParts, sql: Statement) -> duckdb.DuckDBPyConnection:
    """Run a statement over parts that have been verified."""
    paths = {name: open_parts(parts) for name, parts in sql.parameters.parts.items()}
    return database.execute(sql.text, sql.parameters.values | paths)
