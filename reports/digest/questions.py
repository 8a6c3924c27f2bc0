"""What a digest asks, and what it holds once that is answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from reports.query import Query
from reports.query_error import QueryError

# What of a report's parameters a digest takes.
COMMON = ("from", "to", "tz", "event", "site", "filter", "bots", "scope", "limit")
# The numbers at the top: measure, label, and how it is written.
NUMBERS = (
    ("visitors", "Visitors", "count"),
    ("visits", "Visits", "count"),
    ("views_per_visit", "Views a visit", "decimal"),
    ("bounce_rate", "Bounce rate", "percent"),
    ("visit_duration", "Duration", "seconds"),
    ("events", "Events", "count"),
    ("value_sum", "Value", "decimal"),
)
TABLES = (
    ("path", "Pages"),
    ("source", "Sources"),
    ("country", "Countries"),
    ("device", "Devices"),
    ("event", "Events"),
)
ROWS = 10
_HOURS_UP_TO_DAYS, _DAYS_UP_TO_DAYS = 2, 92

Report = Mapping[str, Any]


class Note(NamedTuple):
    """An annotation at the chart. `bar`: the number of its bar, from 0 on. `at`: the
    date, or the moment in the zone of the chart.
    """

    bar: int
    at: str
    text: str


@dataclass(frozen=True)
class Digest:
    """The answers. `about` is the site, or what stands for all; `tables` are in the
    order of TABLES. `notes`: the annotations of that time, in order.
    """

    about: str
    totals: Report
    chart: Report
    tables: tuple[Report, ...]
    notes: tuple[Note, ...] = ()


def questions(parameters: Mapping[str, str], query: Query) -> list[dict[str, str]]:
    """The parameters of each report: the numbers, the chart, then the tables. `query`
    is what the common ones ask. Raises QueryError.
    """
    if others := sorted(set(parameters) - {*COMMON, "compare"}):
        raise QueryError(others[0], f"a page or a mail takes only {', '.join((*COMMON, 'compare'))}")
    common = {name: text for name, text in parameters.items() if name in COMMON}
    limit = common.pop("limit", str(ROWS))
    compared = {"compare": parameters.get("compare") or "previous"}
    numbers = {"measures": ",".join(name for name, _, _ in NUMBERS)}
    chart = {"interval": _interval(query), "measures": "visitors"}
    tables = [{**common, "by": by, "limit": limit, "measures": "visitors,events"} for by, _ in TABLES]
    return [{**common, **compared, **numbers}, {**common, **compared, **chart}, *tables]


def _interval(query: Query) -> str:
    days = (query.end - query.start).days
    return "hour" if days <= _HOURS_UP_TO_DAYS else "day" if days <= _DAYS_UP_TO_DAYS else "month"
