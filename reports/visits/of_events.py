"""The visits that tell of which visit an event is, for questions about events within
one visit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import duckdb

from reports.plan import Days
from reports.query import Query
from reports.visits.days import plan_visits
from reports.visits.made import OpenParts, VisitFiles, VisitsNotMade, room_for_visits


class VisitsOfEvents(NamedTuple):
    """Files with VISIT_COLUMNS: all visits that begin on the UTC days of a question.
    With a `reason` they are not known.
    """

    files: tuple[str, ...] = ()
    reason: str | None = None


@contextmanager
def visits_of_events(
    database: duckdb.DuckDBPyConnection, days: Days, open_parts: OpenParts, query: Query
) -> Iterator[VisitsOfEvents]:
    """The files may be gone afterwards. `days`: all that there are. Raises what
    `open_parts` raises.
    """
    plan = plan_visits(query, days, for_events=True)
    if plan.reason is not None:
        yield VisitsOfEvents(reason=plan.reason)
        return
    with room_for_visits(database) as room:
        files = VisitFiles(database, open_parts, room, query.home, plan)
        try:
            found = VisitsOfEvents(tuple(files.collect().files))
        except VisitsNotMade as error:
            found = VisitsOfEvents(reason=error.reason)
        try:
            yield found
        finally:
            files.forget()
