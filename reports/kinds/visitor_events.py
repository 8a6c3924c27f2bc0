"""How many events one visitor has, by site and by day: what an erasure would take out
of the archive. Only an admin's address asks it (ingest/api/visitors.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from reports.calendar import has_more_buckets
from reports.filters import Condition
from reports.kinds.kind_query import KindQuery, Parameters
from reports.plan import Days
from reports.query import BUCKETS_MAX, LIMIT_MAX, Query, parse
from reports.rows import Row

KIND = "visitor"
_ALL = {"from": "1970-01-01", "to": "9998-12-31", "bots": "include", "measures": "events", "limit": str(LIMIT_MAX)}


@dataclass(frozen=True)
class VisitorQuery(KindQuery):
    kind = KIND


def parse_visitor(parameters: Parameters, now: datetime, _zone: str) -> VisitorQuery:
    """`parameters`: `visitor`, and `site` or none. The handler has looked at both."""
    site = {"site": parameters["site"]} if parameters.get("site") else {}
    query = parse({**_ALL, **site, "scope": "host"}, now, "UTC")
    visitor = Condition("visitor", "==", (parameters["visitor"],))
    return VisitorQuery(**{**vars(query), "conditions": (visitor,)})


def questions(query: VisitorQuery, days: Days) -> dict[str, Query]:
    """By site, and by day of the days that there are; none where none has events."""
    plain = Query(**vars(query))
    asked = {"sites": replace(plain, by="site")}
    if days:
        start = datetime.combine(min(each.day for each in days), time(), UTC)
        end = datetime.combine(max(each.day for each in days), time(), UTC) + timedelta(days=1)
        if not has_more_buckets(start, end, "day", plain.zone, BUCKETS_MAX):
            asked["days"] = replace(plain, start=start, end=end, interval="day")
    return asked


def shape(reports: Mapping[str, Mapping[str, Any]]) -> Row:
    """`days`: how many days have events; null where these are too many to be looked
    at.
    """
    by_day = reports["days"]["rows"] if "days" in reports else None
    found = [row["time"][:10] for row in by_day or () if row["events"]]
    sites = [{"site": row["value"], "events": row["events"]} for row in reports["sites"]["rows"]]
    return {
        "events": reports["sites"]["total"]["events"],
        "days": None if by_day is None else len(found),
        "first_day": found[0] if found else None,
        "last_day": found[-1] if found else None,
        "sites": sites,
        "generation": reports["sites"]["generation"],
        "as_of": reports["sites"]["as_of"],
    }
