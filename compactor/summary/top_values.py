"""The largest event names, paths and sources over all sites.

Reading them costs what the counters of a week have, so they are read again only when
enough was added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.sql import sql_file
from compactor.summary.recent_days import RecentDays, counters_of
from shared.generations.counter_schema import EVENT, OTHER
from shared.generations.snapshot import Day, Snapshot
from shared.generations.summary import Summary, TopValue, TopValues
from shared.sql.counters import DIMENSION_SQL, row_names
from shared.sql.texts import TextNumbers

# Days, the fewest first.
SPANS = (2, 7)
DIMENSIONS = (EVENT, "path", "source")
VALUES_MAX = 10
TEXT_MAX = 200
# Counters with so few rows are read at each pass; larger ones when the events of the
# shortest span have grown by this share.
FEW_ROWS = 5_000
GROWTH = 0.05


def is_due(summary: Summary, after: Snapshot, recent: RecentDays) -> bool:
    """Whether enough was added since the largest values were read."""
    days = [after.days[day] for day in recent.utc_days(after, 0, max(SPANS) - 1)]
    if not summary.top or sum(part.rows for day in days for part in day.counters) <= FEW_ROWS:
        return True
    return sum(summary.events[: min(SPANS)]) >= (1 + GROWTH) * min(top.events for top in summary.top)


def with_top_values(context: PassContext, after: Snapshot, recent: RecentDays, summary: Summary) -> Summary:
    """Raises PartDamaged."""
    largest = _largest(context, after, recent)
    top = []
    for days in SPANS:
        kept = [after.days[day] for day in recent.utc_days(after, 0, days - 1)]
        values = {
            name: tuple(largest.get((days, name), ())) if _has_rows(name, kept, recent) else None for name in DIMENSIONS
        }
        top.append(TopValues(recent.days[days - 1], recent.today, context.now, sum(summary.events[:days]), **values))
    return replace(summary, top=tuple(top))


def _has_rows(dimension: str, kept: Iterable[Day], recent: RecentDays) -> bool:
    """Whether each day has rows of a dimension, which the midnights of FOLDLOG_TIMEZONE
    cut.
    """
    return all(
        dimension not in day.uncounted and (dimension in day.quarters or day.zone == recent.settings.timezone)
        for day in kept
    )


def _largest(context: PassContext, after: Snapshot, recent: RecentDays) -> Mapping[tuple[int, str], list[TopValue]]:
    """By the number of days and the dimension."""
    rows = counters_of(context, after, recent.utc_days(after, 0, max(SPANS) - 1))
    values = {
        "names": row_names(DIMENSIONS),
        "spans": list(SPANS),
        "starts": [recent.span(0, days - 1)[0] for days in SPANS],
        "end": recent.span(0, 0)[1],
    }
    text = sql_file(
        __file__,
        "top_values.sql",
        rows=rows,
        dimension=DIMENSION_SQL,
        is_event=f"starts_with(dimension, '{EVENT}')",
        other=OTHER,
        most=str(VALUES_MAX),
        number=TextNumbers(keyed=True).number("value"),
    )
    found: dict[tuple[int, str], list[TopValue]] = {}
    for days, dimension, value, events in context.database.execute(text, values).fetchall():
        found.setdefault((days, dimension), []).append(TopValue(value[:TEXT_MAX], events))
    return found
