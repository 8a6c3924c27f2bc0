"""What new events add to the counters: events by quarter of an hour or by day, site,
bot, event and value of a dimension.

Counters are sums: a pass writes what it adds, and an event that is replaced counts -1.
So a pass costs what is new, whatever the day holds. A dimension of which a day would
have too many rows is not counted until the day merge, and answered from the archive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import date

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.fold.count_rows import (
    CountedEvents,
    Grouping,
    apply_choice,
    choose_as_published,
    find_texts,
    group_rows,
    name_rows,
    number_rows,
    published_sites,
)
from compactor.fold.working_tables import NewCounters, NewEvents
from compactor.generations.archive import open_parts
from compactor.generations.counter_parts import stored_counters
from shared.generations.counter_schema import COUNTED, SITE, TOTAL
from shared.generations.snapshot import Day, Snapshot
from shared.schema import FIELDS, names
from shared.sql.counters import DIMENSION_SQL
from shared.sql.texts import TextNumbers, by_numbers_of_columns

# How many rows of a dimension the deltas of a day may have for each that it may keep:
# parts of a tier repeat the same keys.
DELTA_ROWS_FOR_EACH = 16
AGENT_DIMENSIONS = names(FIELDS, "user_agent")


def new_day(context: PassContext) -> Day:
    """A day without events, cut at the midnights of FOLDLOG_TIMEZONE."""
    return Day(context.now, zone=context.settings.timezone)


def count_new_events(context: PassContext, before: Snapshot, events: NewEvents) -> NewCounters:
    """Count all new events of the pass, whatever their day."""
    database = context.database
    days = {day: day_to_add_to(context, before, day) for day in events.days}
    # The view new_events joins them.
    texts = {name: "user_agents" if name in AGENT_DIMENSIONS else "incoming" for name in (SITE, *COUNTED)}
    counted = CountedEvents("new_events", days, "replaced_events" if events.replaced else None, texts)
    found: list[NewCounters] = []

    def count(numbers: TextNumbers) -> frozenset[str]:
        number_rows(database, counted, numbers, copied=True)
        group_rows(database, [_grouping(dimension, days) for dimension in (TOTAL, *COUNTED)])
        found.append(_keep_bounds(context, days, numbers))
        return find_texts(database, counted, numbers, only_kept=bool(found[-1].too_many))

    by_numbers_of_columns(count)
    name_rows(database)
    rows = dict(database.execute("SELECT day, count(*) FROM new_counters GROUP BY day").fetchall())
    return dataclasses.replace(found[-1], rows=rows)


def _grouping(dimension: str, days: Mapping[date, Day]) -> Grouping:
    by_quarter = [day for day, kept in days.items() if dimension in kept.quarters]
    return Grouping(dimension, by_quarter, [day for day, kept in days.items() if dimension in kept.uncounted])


def day_to_add_to(context: PassContext, before: Snapshot, day: date) -> Day:
    """A day as new events are added to it. What the day merge has capped is decided
    again, with these events.
    """
    kept = before.days.get(day, new_day(context))
    if kept.expired or not kept.capped:
        return kept
    return replace(kept, capped=(), uncounted=(*kept.uncounted, *kept.capped))


def _keep_bounds(context: PassContext, days: Mapping[date, Day], numbers: TextNumbers) -> NewCounters:
    """Remove the rows of a dimension from `grouped` on a day that would have too many.
    Of the total, only the site is dropped, unless it is one of FOLDLOG_SITES. A day
    whose archive has expired keeps the values that it has. Raises PartDamaged.
    """
    settings = context.settings
    most = DELTA_ROWS_FOR_EACH * settings.max_values * (1 + len(settings.sites))
    found = NewCounters()
    new: dict[date, dict[str, int]] = {}
    counts = "SELECT day, dimension, count(*) FROM grouped GROUP BY day, dimension"
    for day, dimension, rows in context.database.execute(counts).fetchall():
        new.setdefault(day, {})[dimension] = rows
    for day, kept in days.items():
        added = new.get(day, {})
        old = _rows_by_dimension(context, day, kept, most - sum(added.values()))
        over = {name for name, rows in added.items() if old.get(name, 0) + rows > most}
        dropped = _drop_rows(context, day, kept, added, over, numbers)
        if dropped:
            (found.capped if kept.expired else found.too_many)[day] = tuple(dropped)
    return found


def _drop_rows(
    context: PassContext, day: date, kept: Day, added: Iterable[str], over: set[str], numbers: TextNumbers
) -> Iterable[str]:
    """Drop what one day may not have. Returns the names of these dimensions."""
    database = context.database
    dropped = []
    for dimension in added:
        if dimension == TOTAL and (TOTAL in over or SITE in (*kept.uncounted, *kept.capped)):
            _drop_sites(context, day, kept, numbers)
            dropped.append(SITE)
        elif kept.expired and (dimension in over or dimension in kept.capped):
            stored = stored_counters(open_parts(context.data, "counters", day, kept.counters))
            choose_as_published(database, dimension, stored, numbers)
            apply_choice(database, day, dimension)
            dropped.append(dimension)
        elif dimension in over:
            database.execute("DELETE FROM grouped WHERE day = $1 AND dimension = $2", [day, dimension])
            dropped.append(dimension)
    return dropped


def _rows_by_dimension(context: PassContext, day: date, kept: Day, most: int) -> dict[str, int]:
    """How many rows of each dimension the counters of a day have; not counted while all
    of them together are at most `most`.
    """
    if sum(part.rows for part in kept.counters) <= most:
        return {}
    stored = stored_counters(open_parts(context.data, "counters", day, kept.counters))
    return dict(context.database.execute(f"SELECT {DIMENSION_SQL}, count(*) FROM {stored} GROUP BY ALL").fetchall())


def _drop_sites(context: PassContext, day: date, kept: Day, numbers: TextNumbers) -> None:
    """Count sites under `(other)`, except those of FOLDLOG_SITES, and on a day whose
    archive has expired those that it has.
    """
    own = f"SELECT {numbers.number('site')} FROM (SELECT unnest($sites::VARCHAR[]) AS site)"
    if kept.expired:
        stored = stored_counters(open_parts(context.data, "counters", day, kept.counters))
        own += f" UNION ALL {published_sites(stored, numbers)}"
    rows = f"FROM grouped WHERE day = $day AND dimension = '{TOTAL}'"
    merged = f"SELECT * REPLACE (CASE WHEN site IN ({own}) THEN site END AS site) {rows}"
    database = context.database
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE totals AS SELECT * REPLACE (sum(events)::BIGINT AS events) FROM ({merged}) "
        "GROUP BY ALL",
        {"sites": list(context.settings.sites), "day": day},
    )
    database.execute("DELETE FROM grouped WHERE day = $1 AND dimension = $2", [day, TOTAL])
    database.execute("INSERT INTO grouped FROM totals")
