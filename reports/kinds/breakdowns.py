"""Several breakdowns in one question: what one page shows of a time, site and filter.
Each is the report that `by` alone would have, of one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.kinds.kind_query import KindQuery, Parameters, common_query
from reports.query import LIMIT_MAX, Query, parse
from reports.query_error import QueryError
from reports.rows import Row

KIND = "breakdowns"
OWN = ("by",)
COMMON = ("from", "to", "tz", "event", "site", "filter", "limit", "bots", "measures", "compare", "scope")
BREAKDOWNS_MAX = 12
# What the answer has once, not in each breakdown.
_OF_ALL = ("from", "to", "tz", "generation", "as_of", "hosts", "compare", "previous_from", "previous_to")
_OF_NONE = ("interval",)


@dataclass(frozen=True)
class BreakdownsQuery(KindQuery):
    """`each`: a question of its own, in the order in which they were asked for."""

    kind = KIND
    each: tuple[Query, ...] = ()

    @property
    def asks_visits(self) -> bool:
        return any(query.asks_visits for query in self.each)


def parse_breakdowns(parameters: Parameters, now: datetime, zone: str) -> BreakdownsQuery:
    """Raises QueryError."""
    found = common_query(parameters, OWN, COMMON, now, zone)
    names = tuple(dict.fromkeys(filter(None, parameters.get("by", "").split(","))))
    if not 0 < len(names) <= BREAKDOWNS_MAX:
        raise QueryError("by", f"must be 1 to {BREAKDOWNS_MAX} dimensions, separated by commas")
    if len(names) * found["limit"] > LIMIT_MAX:
        raise QueryError("limit", f"more than {LIMIT_MAX} rows; ask for fewer of each, or for fewer breakdowns")
    others = {name: text for name, text in parameters.items() if name in COMMON}
    return BreakdownsQuery(**found, each=tuple(parse({**others, "by": name}, now, zone) for name in names))


def together(query: BreakdownsQuery, reports: Sequence[Mapping[str, Any]]) -> Row:
    """The answer, of the reports of `query.each`."""
    first = reports[0]
    breakdowns = [{name: of for name, of in each.items() if name not in (*_OF_ALL, *_OF_NONE)} for each in reports]
    return {"kind": query.kind, "breakdowns": breakdowns} | {name: first[name] for name in _OF_ALL if name in first}
