"""The numbers that a report may have, and the parameters `measures` and `visitors` that
choose among them. Pure.

docs/reports.md defines each number. Events and visitors are counted by every report;
the other measures have reads of their own (families.py), and those of visits come from
visits (reports/visits).
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from reports.query_error import QueryError

VisitMeasure = Literal["visits", "views_per_visit", "bounce_rate", "visit_duration"]
ValueMeasure = Literal["value_sum", "value_avg", "value_p50", "value_p95"]
EngagedMeasure = Literal["engaged_time", "engaged_p50"]
Measure = Literal["events", "visitors", VisitMeasure, ValueMeasure, EngagedMeasure]
Visitors = Literal["exact", "none"]

MEASURES: tuple[Measure, ...] = get_args(Measure)
# Of visits (reports/visits); the others are counted of events.
VISIT_MEASURES: tuple[Measure, ...] = get_args(VisitMeasure)
# Of events of one visitor together.
ENGAGED_MEASURES: tuple[Measure, ...] = get_args(EngagedMeasure)
DEFAULT: tuple[Measure, ...] = ("events", "visitors")


def parse_measures(measures: str, visitors: str) -> tuple[Measure, ...]:
    """The measures that were asked for, in that order, each once. Without `measures`
    events and visitors; `visitors=none` leaves the latter out. Raises QueryError.
    """
    if visitors not in ("", *get_args(Visitors)):
        raise QueryError("visitors", f"must be one of {', '.join(get_args(Visitors))}")
    names = tuple(dict.fromkeys(measures.split(","))) if measures else DEFAULT
    if not set(names) <= set(MEASURES):
        raise QueryError("measures", f"must be some of {', '.join(MEASURES)}, separated by commas")
    if visitors == "none" and measures and "visitors" in names:
        raise QueryError("visitors", "measures asks for visitors; leave out visitors=none")
    return tuple(cast(Measure, name) for name in names if name != "visitors" or visitors != "none")
