"""Events and visitors of the last minutes before the last pass: in all, and of the
sites, paths and sources that most visitors had.

Only events of that time are read, so that a question costs what happened since, not
what the day holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from reports.kinds.kind_query import EPOCH, KindQuery, Parameters, common_query
from reports.plan import ArchiveScan, Days, archive_scan
from reports.query_error import QueryError
from reports.rows import Fetched, Row

MINUTES = (5, 30)
DIMENSIONS = ("site", "path", "source")
LIMIT_DEFAULT = 10
LIMIT_MAX = 100
# `at` is when the last pass was: it comes from the worker or the command, not from the
# client.
OWN = ("at",)
COMMON = ("site", "bots", "limit", "scope")
_NAMES = tuple(f"{name}_{minutes}" for minutes in MINUTES for name in ("events", "visitors"))


@dataclass(frozen=True)
class LiveQuery(KindQuery):
    """Of the time from `start` to `end`; `recent` is when its last minutes begin."""

    kind = "live"
    recent: datetime = EPOCH


@dataclass(frozen=True)
class LiveRead:
    """Rows (dimension, value, events and visitors of each of MINUTES), the `limit` with
    the most visitors of each of DIMENSIONS, and before them all (dimension 0).
    """

    events: ArchiveScan
    recent: datetime
    limit: int


@dataclass(frozen=True)
class LivePlan:
    query: LiveQuery
    read: LiveRead

    @property
    def reads(self) -> dict[str, LiveRead]:
        return {"live": self.read}


def parse(parameters: Parameters, now: datetime, zone: str) -> LiveQuery:
    limit = parameters.get("limit") or str(LIMIT_DEFAULT)
    found = common_query({**parameters, "limit": limit}, OWN, COMMON, now, zone)
    if found["limit"] > LIMIT_MAX:
        raise QueryError("limit", f"must be a whole number from 1 to {LIMIT_MAX}")
    at = datetime.fromisoformat(parameters["at"]).astimezone(UTC) if parameters.get("at") else now
    shorter, longer = (at - timedelta(minutes=minutes) for minutes in MINUTES)
    return LiveQuery(**{**found, "start": longer, "end": at, "recent": shorter})


def plan(query: LiveQuery, days: Days) -> LivePlan:
    return LivePlan(query, LiveRead(archive_scan(query, days, (), None), query.recent, query.limit))


def shape(plan: LivePlan, fetched: Fetched) -> Row:
    total = dict.fromkeys(_NAMES, 0)
    rows = []
    for dimension, value, *numbers in fetched["live"]:
        counted = dict(zip(_NAMES, numbers, strict=True))
        if dimension == 0:
            total = counted
        else:
            rows.append({"by": DIMENSIONS[dimension - 1], "value": value} | counted)
    at = plan.query.end.astimezone(UTC)
    return {"at": at.isoformat(timespec="milliseconds"), "minutes": list(MINUTES), "rows": rows, "total": total}


def table(report: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    return ["by", "value", *_NAMES], report["rows"]
