"""A report: query → plan → SQL → rows. Everything but the reading is pure."""

from __future__ import annotations

from typing import Any

import duckdb

from reports.kinds import kind_of
from reports.plan import Parts, TotalRead, days_of
from reports.query import Query
from reports.rows import Row, no_answer, with_header
from reports.sql.duckdb import statement
from reports.sql.statement import Statement
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import one_thread
from shared.generations.part_integrity import verified_part
from shared.generations.snapshot import Snapshot
from shared.sql.texts import TextNumbers


def make_report(database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, query: Query) -> Row:
    """The report of a snapshot as it is answered. Raises PartDamaged."""
    kind = kind_of(query)
    plan = kind.plan(query, days_of(snapshot, query))
    fetched: dict[str, list[tuple[Any, ...]]] = {}
    # Numbers of visitors may be ambiguous where no total has looked at all visitors.
    is_checked = plan.total is not None and plan.total.with_visitors
    visitors = TextNumbers(keyed=is_checked, strong=not is_checked)
    for name, read in plan.reads.items():
        fetched[name] = _fetch(database, data, statement(read, visitors))
        if isinstance(read, TotalRead) and fetched[name][0][-1]:
            visitors = TextNumbers(strong=True)
    rows, total = kind.shape(plan, fetched) if plan.has_answer else no_answer(plan)
    return with_header(plan, rows, total, snapshot.generation, snapshot.as_of)


def _fetch(database: duckdb.DuckDBPyConnection, data: DataDirectory, sql: Statement) -> list[tuple[Any, ...]]:
    """All rows; with one thread where more of them do not get along with the memory."""
    try:
        return execute(database, data, sql).fetchall()
    except duckdb.OutOfMemoryException:
        with one_thread(database):
            return execute(database, data, sql).fetchall()


def execute(database: duckdb.DuckDBPyConnection, data: DataDirectory, sql: Statement) -> duckdb.DuckDBPyConnection:
    """Run a statement over parts that have been verified. Raises PartDamaged."""
    paths = {name: _verified_paths(data, parts) for name, parts in sql.parameters.parts.items()}
    return database.execute(sql.text, sql.parameters.values | paths)


def _verified_paths(data: DataDirectory, parts: Parts) -> list[str]:
    return [str(verified_part(data, each.kind, each.day, each.part)) for each in parts]
