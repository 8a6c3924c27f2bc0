"""The kinds of report, a module each: `plan` makes the plan of a query, `shape` makes
rows and total of what the plan's reads fetched.

Kinds that have an address of their own, and a name (`foldlog report --kind`), also have
`parse`, which makes their query, and `table`, which makes the columns of CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from reports.kinds import breakdown, cohorts, funnel, goals, live, paths, time_series
from reports.kinds.batch import KIND as BATCH
from reports.kinds.batch import parse_batch
from reports.kinds.kind_query import KindQuery, Parameters
from reports.kinds.visitor_events import KIND as VISITOR
from reports.kinds.visitor_events import parse_visitor
from reports.plan import Days, Plan
from reports.query import Query, parse
from reports.query_error import QueryError
from reports.rows import Fetched, Row

KIND = "kind"


class Kind(Protocol):
    """What each module of a report of counts has."""

    def plan(self, query: Query, days: Days) -> Plan: ...

    def shape(self, plan: Plan, fetched: Fetched) -> tuple[list[Row], Row]: ...


class KindPlan(Protocol):
    """The reads of a named kind, in order; none where there is no answer."""

    @property
    def reads(self) -> Mapping[str, Any]: ...


class NamedKind(Protocol):
    """What each module of a kind with a name has. `shape` makes all of the report but
    what it is from.
    """

    def parse(self, parameters: Parameters, now: datetime, zone: str) -> KindQuery: ...

    def plan(self, query: Any, days: Days) -> KindPlan: ...

    def shape(self, plan: Any, fetched: Fetched) -> Row: ...

    def table(self, report: Mapping[str, Any]) -> tuple[list[str], list[Row]]: ...


NAMED: dict[str, NamedKind] = {"cohorts": cohorts, "funnel": funnel, "goals": goals, "live": live, "paths": paths}


# Of several reports each (reports/batch.py); they are asked over HTTP alone.
_SEVERAL: dict[str, Callable[[Parameters, datetime, str], KindQuery]] = {
    BATCH: parse_batch,
    VISITOR: parse_visitor,
}


def kind_of(query: Query) -> Kind:
    return breakdown if query.by else time_series


def named_kind(query: Query) -> NamedKind | None:
    """None for a report of counts."""
    return NAMED[query.kind] if isinstance(query, KindQuery) else None


def parse_question(parameters: Parameters, now: datetime, zone: str) -> Query:
    """The query of the kind that `kind` names, or of a report of counts without one.
    Raises QueryError.
    """
    if KIND not in parameters:
        return parse(parameters, now, zone)
    given = {name: text for name, text in parameters.items() if name != KIND}
    if parse_several := _SEVERAL.get(parameters[KIND]):
        return parse_several(given, now, zone)
    kind = NAMED.get(parameters[KIND])
    if kind is None:
        raise QueryError(KIND, f"must be one of {', '.join(NAMED)}")
    return kind.parse(given, now, zone)


def csv_table(report: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    """The columns and rows of a report of a named kind, as CSV and the terminal show
    them.
    """
    return NAMED[report[KIND]].table(report)
