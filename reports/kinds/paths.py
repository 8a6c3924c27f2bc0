"""What visitors did before and after a page: two steps each way.

Within a visit, a visitor's events that have a path are a row of stays: events of one
path that follow each other are one. docs/reports.md defines the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.filters import is_unicode
from reports.kinds.kind_query import KindQuery, Parameters, common_query, one_of
from reports.plan import Days, Parts, Selection, archive_scan
from reports.query_error import QueryError
from reports.rows import EXPIRED_FILTER, Fetched, Row, local_time

DIMENSIONS = ("path", "event")
OWN = ("at", "by")
COMMON = ("from", "to", "tz", "site", "filter", "limit", "bots", "scope")
COLUMNS = ("position", "via", "value", "others", "moves", "visitors")
AT_MAX = 2_000


@dataclass(frozen=True)
class PathsQuery(KindQuery):
    """`at`: the value of the stays that others are before and after; `of`: its
    dimension.
    """

    kind = "paths"
    at: str = ""
    of: str = DIMENSIONS[0]


@dataclass(frozen=True)
class PathsRead:
    """Rows (position, via, value, others, moves, visitors, whether events were not in
    order), the `limit` with the most moves of each position, and behind them the others
    together. Position 0: all stays at `at`.
    """

    selection: Selection
    of: str
    at: str
    limit: int
    parts: Parts


@dataclass(frozen=True)
class PathsPlan:
    """Without a read an archive of the time is past its retention."""

    query: PathsQuery
    reads: Mapping[str, PathsRead]


def parse(parameters: Parameters, now: datetime, zone: str) -> PathsQuery:
    found = common_query(parameters, OWN, COMMON, now, zone)
    of, at = one_of("by", parameters.get("by", ""), DIMENSIONS), parameters.get("at", "")
    if not (at and len(at) <= AT_MAX and is_unicode(at)):
        raise QueryError("at", f"must be a {of}, such as {'/pricing' if of == 'path' else 'signup'}")
    return PathsQuery(**found, at=at, of=of)


def plan(query: PathsQuery, days: Days) -> PathsPlan:
    if any(each.kept.expired for each in days):
        return PathsPlan(query, {})
    scan = archive_scan(query, days, (), None)
    return PathsPlan(query, {"paths": PathsRead(scan.selection, query.of, query.at, query.limit, scan.parts)})


def shape(plan: PathsPlan, fetched: Fetched) -> Row:
    query, found = plan.query, fetched.get("paths", ())
    if any(row[-1] for row in found):
        raise AssertionError("the events of paths were not in order")
    total = next((row for row in found if row[0] == 0), None)
    moves, visitors = total[4:6] if total else (0, 0) if plan.reads else (None, None)
    report: Row = {
        "from": local_time(query.start, query),
        "to": local_time(query.end, query),
        "tz": query.zone.key,
        "by": query.of,
        "at": query.at,
        "rows": [_row(row) for row in found if row[0]],
        "total": {"stays": moves, "visitors": visitors},
    }
    return report if plan.reads else report | {"reason": EXPIRED_FILTER}


def _row(found: Sequence[Any]) -> Row:
    """Only a second step has one that it is `via`, only those together are `others`."""
    position, via, value, others, moves, visitors, *_ = found
    shown = {"via": via} if abs(position) > 1 else {}
    counted = {"others": others} if others else {}
    return {"position": position, **shown, "value": value, **counted, "moves": moves, "visitors": visitors}


def table(report: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    return list(COLUMNS), report["rows"]
