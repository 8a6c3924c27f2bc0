"""The kinds of report, a module each: `plan` makes the plan of a query, `shape` makes
rows and total of what the plan's reads fetched.
"""

from __future__ import annotations

from typing import Protocol

from reports.kinds import breakdown, time_series
from reports.plan import Days, Plan
from reports.query import Query
from reports.rows import Fetched, Row


class Kind(Protocol):
    """What each module of this package has."""

    def plan(self, query: Query, days: Days) -> Plan: ...

    def shape(self, plan: Plan, fetched: Fetched) -> tuple[list[Row], Row]: ...


def kind_of(query: Query) -> Kind:
    return breakdown if query.by else time_series
