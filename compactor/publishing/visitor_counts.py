"""Visitors of each day and site as a store of one host has them: numbers, counted from
the archive again for each day that has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from compactor.generations.archive import open_parts, stored_events
from compactor.publishing.calendar_day import calendar_day
from compactor.publishing.visitors_of_day import expired_rows, shown_site
from compactor.sql import sql_file
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import OTHER
from shared.generations.day_cuts import cut_spans
from shared.generations.snapshot import Day, Snapshot
from shared.sql.texts import TextNumbers
from shared.stores.visitor_rows import DayCounts

if TYPE_CHECKING:
    import duckdb

_NO_DAY = Day("")


def changed_counts(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, before: Snapshot, after: Snapshot
) -> Iterator[DayCounts]:
    """The visitors of each day of the time zone that differs. Raises PartDamaged."""
    changed = {
        local
        for day in {*before.days, *after.days}
        if _differs(before.days.get(day, _NO_DAY), after.days.get(day, _NO_DAY))
        for kept in (before.days.get(day), after.days.get(day))
        if kept
        for local in _local_days(day, kept)
    }
    for local in sorted(changed):
        yield visitors_of(database, data, after, local)


def visitors_of(database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, local: date) -> DayCounts:
    """The visitors of a day of the time zone. Raises PartDamaged."""
    near = (local + timedelta(days=shift) for shift in (-1, 0, 1))
    days = {day: snapshot.days[day] for day in near if day in snapshot.days}
    days = {day: kept for day, kept in days.items() if local in _local_days(day, kept)}
    expired = {day: kept for day, kept in days.items() if kept.expired}
    if not expired:
        return DayCounts(local, _counted(database, data, days, local))
    found: dict[str, int | None] = {}
    for day, kept in expired.items():
        for row in expired_rows(database, data, day, kept):
            if row.day == local and found.get(row.site) is None:
                found[row.site] = row.expired
    return DayCounts(local, found)


def _counted(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, days: dict[date, Day], local: date
) -> dict[str, int | None]:
    if not days:
        return {}
    strong = TextNumbers(strong=True)
    sources = [
        f"SELECT {calendar_day(day, kept.zone)} AS day, {shown_site(data, day, kept, strong)} AS site_number, site, "
        f"{strong.number('visitor')} AS visitor_number FROM (SELECT time AS bucket, site, visitor "
        f"FROM {stored_events(open_parts(data, 'archive', day, kept.archive))} WHERE NOT bot AND visitor IS NOT NULL)"
        for day, kept in days.items()
    ]
    text = sql_file(__file__, "visitor_counts.sql", events=f"({' UNION ALL '.join(sources)})")
    return dict(database.execute(text, {"local": local, "other": OTHER}).fetchall())


def _differs(old: Day, new: Day) -> bool:
    if old.expired or new.expired:
        return old.counters != new.counters or old.expired != new.expired
    return (old.zone, old.archive, old.capped) != (new.zone, new.archive, new.capped)


def _local_days(day: date, kept: Day) -> set[date]:
    """Days of the time zones by which a UTC day is, and was, counted."""
    zones = {kept.zone, kept.visitor_zone or kept.zone}
    return {start.astimezone(ZoneInfo(zone)).date() for zone in zones for start, _ in cut_spans(day, zone)}
