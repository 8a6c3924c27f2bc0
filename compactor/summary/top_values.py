"""The largest event names, paths and sources over all sites.

Reading them costs what the counters of a week have, so they are read again only when
enough was added.
"""

from __future__ import annotations

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.sql import sql_file
from compactor.summary.recent_days import RecentDays, counters_of
from shared.generations.counter_schema import DAY_ROWS_SUFFIX, EVENT, OTHER
from shared.generations.snapshot import Snapshot
from shared.generations.summary import Summary, TopValue, TopValues
from shared.sql.texts import TextNumbers, by_numbers

SPANS = (2, 7)
VALUES_MAX = 10
TEXT_MAX = 200
# Counters with so few rows are read at each pass; larger ones when the events of the
# shortest span have grown by this share.
FEW_ROWS = 20_000
GROWTH = 0.02


def is_due(summary: Summary, after: Snapshot, recent: RecentDays) -> bool:
    """Whether enough was added since the largest values were read."""
    days = [after.days[day] for day in recent.utc_days(after, 0, max(SPANS) - 1)]
    if not summary.top or sum(part.rows for day in days for part in day.counters) <= FEW_ROWS:
        return True
    return sum(summary.events[: min(SPANS)]) >= (1 + GROWTH) * min(top.events for top in summary.top)


def with_top_values(context: PassContext, after: Snapshot, recent: RecentDays, summary: Summary) -> Summary:
    """Raises PartDamaged."""
    return replace(summary, top=tuple(_top_values(context, after, recent, summary, days) for days in SPANS))


def _top_values(context: PassContext, after: Snapshot, recent: RecentDays, summary: Summary, days: int) -> TopValues:
    values = {name: _largest(context, after, recent, days, name) for name in (EVENT, "path", "source")}
    return TopValues(recent.days[days - 1], recent.today, context.now, sum(summary.events[:days]), **values)


def _largest(
    context: PassContext, after: Snapshot, recent: RecentDays, days: int, dimension: str
) -> tuple[TopValue, ...] | None:
    """None where a day has no rows of the dimension, or rows that its midnights do not
    cut.
    """
    utc_days = recent.utc_days(after, 0, days - 1)
    for kept in (after.days[day] for day in utc_days):
        is_cut = dimension in kept.quarters or kept.zone == recent.settings.timezone
        if dimension in kept.uncounted or not is_cut:
            return None
    rows = counters_of(context, after, utc_days)
    start, end = recent.span(0, days - 1)
    found: list[tuple[str, int, bool]] = []

    def sum_up(numbers: TextNumbers) -> bool:
        text = sql_file(
            __file__,
            "top_values.sql",
            rows=rows,
            column="event" if dimension == EVENT else "value",
            other=OTHER,
            most=str(VALUES_MAX),
            number=numbers.number("value"),
            is_ambiguous=numbers.is_ambiguous("value"),
        )
        values = {"names": [dimension, dimension + DAY_ROWS_SUFFIX], "start": start, "end": end}
        found[:] = context.database.execute(text, values).fetchall()
        return any(is_ambiguous for *_, is_ambiguous in found)

    by_numbers(sum_up)
    return tuple(TopValue(value[:TEXT_MAX], events) for value, events, _ in found)
