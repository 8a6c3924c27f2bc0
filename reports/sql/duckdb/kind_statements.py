"""From a read of a kind with a name to one DuckDB statement. Texts are counted beside
their numbers, so that it is exact whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reports.kinds.cohorts import CohortsRead, DailyRead, Entry
from reports.kinds.funnel import FunnelRead
from reports.kinds.goals import GoalsRead
from reports.kinds.live import DIMENSIONS, LiveRead
from reports.kinds.paths import PathsRead
from reports.sql.duckdb.buckets import bucket_join, utc_timestamp
from reports.sql.duckdb.composed import sql_file, with_relations
from reports.sql.duckdb.funnels import funnel_statement
from reports.sql.duckdb.paths import paths_statement
from reports.sql.duckdb.relations import all_hold, archived_events, selected_events
from reports.sql.statement import Parameters, Statement
from shared.named_filters import ENTRIES_MAX
from shared.schema import column_sql
from shared.sql.texts import TextNumbers

_NUMBERS = TextNumbers(keyed=True)
_VISITOR = _NUMBERS.number("a.visitor")
# Beyond the numbers of the conditions of another filter in the same statement.
_OTHER_FILTER = 1_000


def kind_statement(read: Any) -> Statement:
    """`read`: of one of the modules of reports/kinds/."""
    bound = Parameters()
    return Statement(_TEXTS[type(read)](read, bound), bound)


def _live(read: LiveRead, bound: Parameters) -> str:
    bound.value("limit", read.limit)
    scan, since = read.events, bound.value("recent", utc_timestamp(read.recent))
    values = [(name, column_sql(name, "a")) for name in DIMENSIONS]
    columns = [f"{sql} AS {name}, {_NUMBERS.number(sql)} AS {name}_number" for name, sql in values]
    columns += ["a.visitor", f"{_VISITOR} AS number", f"a.time >= {since} AS is_last"]
    recent = (
        f"SELECT {', '.join(columns)} "
        f"FROM {archived_events(scan.parts, bound)} a "
        f"WHERE {selected_events(scan.selection, bound)} AND {all_hold(scan.selection.conditions, bound)}"
    )
    return with_relations({"recent": recent}, sql_file("live.sql"))


def _cohorts(read: CohortsRead, bound: Parameters) -> str:
    bound.value("periods", len(read.starts))
    is_entry = _is_entry(read.entry, bound)
    is_return = is_entry if read.returning is None else all_hold(read.returning, bound, _OTHER_FILTER)
    came = (
        f"SELECT coalesce(b.number, -1) AS period, {_VISITOR} AS number, a.visitor, "
        f"({is_entry}) AS is_entry, ({is_return}) AS is_return "
        f"FROM {archived_events(read.parts, bound)} a "
        f"{bucket_join('a.time', read.starts, read.selection.end, bound, keeps_earlier=True)} "
        f"WHERE {selected_events(read.selection, bound)} AND a.visitor IS NOT NULL AND a.daily IS NOT TRUE "
        "AND (is_entry OR is_return)"
    )
    return with_relations({"came": came}, sql_file("cohorts.sql"))


def _daily(read: DailyRead, bound: Parameters) -> str:
    return (
        f"SELECT count(*) FROM (SELECT DISTINCT {_VISITOR} AS number, a.visitor "
        f"FROM {archived_events(read.parts, bound)} a "
        f"WHERE {selected_events(read.selection, bound)} AND a.daily AND {_is_entry(read.entry, bound)})"
    )


def _is_entry(entry: Entry, bound: Parameters) -> str:
    of_event = "" if entry.event is None else f"a.event = {bound.value('entry_event', entry.event)} AND "
    return of_event + all_hold(entry.conditions, bound)


def _goals(read: GoalsRead, bound: Parameters) -> str:
    bound.value("goals", len(read.goals))
    bits = [
        f"CASE WHEN {all_hold(conditions, bound, place * _OTHER_FILTER)} THEN {1 << place}::UHUGEINT "
        "ELSE 0::UHUGEINT END"
        for place, conditions in enumerate(read.goals)
    ]
    bucket, join = "0::BIGINT", ""
    if read.bucket_starts:
        bucket, join = "b.number", bucket_join("a.time", read.bucket_starts, read.selection.end, bound)
    matched = (
        f"SELECT {bucket} AS bucket, {' | '.join(['0::UHUGEINT', *bits])} AS goals, a.value, "
        f"{_VISITOR} AS number, a.visitor FROM {archived_events(read.parts, bound)} a {join} "
        f"WHERE {selected_events(read.selection, bound)} "
        f"AND {all_hold(read.selection.conditions, bound, ENTRIES_MAX * _OTHER_FILTER)}"
    )
    return with_relations({"matched": matched}, sql_file(f"goal_{read.of}.sql"))


_TEXTS: dict[type, Callable[[Any, Parameters], str]] = {
    CohortsRead: _cohorts,
    DailyRead: _daily,
    FunnelRead: funnel_statement,
    GoalsRead: _goals,
    LiveRead: _live,
    PathsRead: paths_statement,
}
