"""A report whose rows a ClickHouse cluster counts. The plan and the rows are those of
every report; the days are those that its hosts have shipped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from reports.kinds import goals, kind_of
from reports.kinds.goals import GoalsQuery, GoalsRead
from reports.measures.families import reasons
from reports.plan import (
    ArchiveScan,
    BreakdownRead,
    EngagedRead,
    HostDay,
    Read,
    Scan,
    SeriesRead,
    TotalRead,
    ValueQuantilesRead,
    ValueSumsRead,
    days_within,
    of_shown,
)
from reports.query import Query
from reports.rows import Row, no_answer, with_header
from reports.sql.clickhouse import HALF, Statement, Statements
from shared.generations.counter_schema import ALL_COUNTED
from shared.generations.snapshot import Day

# The rows of a statement.
Ask = Callable[[Statement], list[list[Any]]]
Rows = list[tuple[Any, ...]]


def shipped(days: Sequence[HostDay]) -> list[HostDay]:
    """Days as a cluster has them: their events, and no counters."""
    return [
        each._replace(kept=Day("", archive=each.kept.archive, expired=each.kept.expired, uncounted=ALL_COUNTED))
        for each in days
    ]


def report_of_cluster(
    ask: Ask,
    statements: Statements,
    query: Query,
    days: Sequence[HostDay],
    generation: int,
    as_of: str,
    hosts: Sequence[Row],
) -> Row:
    """The report as it is answered. Raises what `ask` raises."""
    if isinstance(query, GoalsQuery):
        of_goals = goals.plan(query, days)
        converted = {name: _fetch_goals(ask, statements, read) for name, read in of_goals.reads.items()}
        about = {"generation": generation, "as_of": as_of, "hosts": list(hosts)}
        return {"kind": query.kind, **goals.shape(of_goals, converted), **about}
    kind = kind_of(query)
    plan = kind.plan(query, days_within(days, query))
    fetched: dict[str, Rows] = {}
    for name, read in plan.reads.items():
        fetched[name] = _fetch(ask, statements, of_shown(read, fetched.get("groups", ())))
    rows, total = kind.shape(plan, fetched) if plan.has_answer else no_answer(plan)
    missing = reasons(plan, [total, *rows]) if plan.has_answer else []
    return with_header(plan, rows, total, generation, as_of, hosts, missing)


def _fetch(ask: Ask, statements: Statements, read: Read) -> Rows:
    """The rows as DuckDB's statements have them."""
    if isinstance(read, TotalRead):
        return [tuple(row) for row in ask(statements.total(_events(read.events), with_visitors=read.with_visitors))]
    if isinstance(read, SeriesRead):
        found = ask(statements.series(_events(read.events), with_visitors=read.visitors is not None))
        return [(_moment(start), events, visitors) for start, events, visitors in found]
    if isinstance(read, BreakdownRead):
        return _breakdown(ask, statements, read)
    if isinstance(read, ValueSumsRead):
        found = ask(statements.value_sums(_events(read.events), read.shown))
        return [
            (_bucket(start, read.events), value, power, int(high) * HALF + int(low), count)
            for start, value, power, high, low, count in found
        ]
    if isinstance(read, ValueQuantilesRead):
        found = ask(statements.value_quantiles(_events(read.events), read.shown))
        return [
            (_bucket(start, read.events), value, *map(_of_bits, percentiles)) for start, value, *percentiles in found
        ]
    if isinstance(read, EngagedRead):
        found = ask(statements.engaged(_events(read.events), read.shown))
        return [(_bucket(start, read.events), value, int(ms), *rest) for start, value, ms, *rest in found]
    raise AssertionError("kept visitors are in counters, which a cluster has none of")


def _fetch_goals(ask: Ask, statements: Statements, read: GoalsRead) -> Rows:
    """The rows as DuckDB's statements have them."""
    places = {round(start.timestamp() * 1000): place for place, start in enumerate(read.bucket_starts)} or {0: 0}

    def of(start: int, goal: int) -> tuple[int, int | None]:
        return places[start], None if goal < 0 else goal

    if read.of == "visitors":
        return [(*of(start, goal), visitors) for start, goal, visitors in ask(statements.goal_visitors(read))]
    return [
        (*of(start, goal), power, count, int(high) * HALF + int(low))
        for start, goal, power, high, low, count in ask(statements.goal_sums(read))
    ]


def _breakdown(ask: Ask, statements: Statements, read: BreakdownRead) -> Rows:
    scan = _events(read.events)
    if read.shown is None and read.visitors is None and not scan.bucket_starts:
        rows = ask(statements.top_values(scan, read.limit))
        statements.remember((value, (one, other)) for one, other, value, *_ in rows)
        return [(_moment(0), value, events, None, of_all) for _, _, value, events, of_all in rows]
    top = statements.known(read.shown) if read.shown is not None else ask(statements.top(scan, read.limit))
    if not top:
        return []
    wanted, of_all = {(one, other) for one, other, _ in top}, top[0][2]
    found = ask(statements.values(scan, [one for one, _, _ in top], with_visitors=read.visitors is not None))
    statements.remember((value, (one, other)) for one, other, _, value, *_ in found)
    return [
        (_moment(start), value, events, visitors, of_all)
        for one, other, start, value, events, visitors in found
        if (one, other) in wanted
    ]


def _events(scan: Scan) -> ArchiveScan:
    """What counters would be summed for is counted from the events, as all else."""
    return ArchiveScan(scan.selection, scan.bucket_starts, scan.by, (), None)


def _bucket(epoch_ms: int, scan: ArchiveScan) -> datetime | None:
    return _moment(epoch_ms) if scan.bucket_starts else None


def _of_bits(bits: int) -> float:
    """The number of a Float64."""
    found: float
    (found,) = struct.unpack("<d", struct.pack("<Q", bits))
    return found


def _moment(epoch_ms: int) -> datetime:
    """As DuckDB's TIMESTAMP."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).replace(tzinfo=None)
