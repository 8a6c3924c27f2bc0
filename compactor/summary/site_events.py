"""The events of each site by day: what a pass adds to them, or all of them from the
counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.sql import sql_file
from compactor.summary.recent_days import RecentDays, counters_of
from shared.generations.counter_schema import OTHER, TOTAL
from shared.generations.snapshot import Snapshot
from shared.generations.summary import SITES_MAX, SUMMARY_DAYS, SiteSummary, Summary, Visitors
from shared.sql.texts import TextNumbers

NOT_COUNTED: Visitors = (None,) * SUMMARY_DAYS


class AddedEvents(NamedTuple):
    """What a pass added to the counters of these UTC days without changing anything
    else: (site, bucket, events) of the total without bots.
    """

    days: Iterable[date] = ()
    rows: Sequence[tuple[str, datetime, int]] = ()


def added_events(context: PassContext, days: Iterable[date]) -> AddedEvents:
    """From the table `new_counters`, which the next count replaces."""
    if not days:
        return AddedEvents()
    rows = f"SELECT site, bucket, events FROM new_counters WHERE dimension = '{TOTAL}' AND NOT bot"
    return AddedEvents(days, context.database.execute(rows).fetchall())


def with_added(old: Summary, recent: RecentDays, added: AddedEvents) -> Summary:
    """A new site is listed while there is room, and while no site is among the
    others: it may be one of them.
    """
    sites = {site.site: list(site.events) for site in old.sites}
    others, total = list(old.other_sites), list(old.events)
    for site, bucket, events in added.rows:
        place = recent.place(bucket)
        if place is None:
            continue
        if site not in sites and site != OTHER and len(sites) < SITES_MAX and not any(old.other_sites):
            sites[site] = [0] * SUMMARY_DAYS
        sites.get(site, others)[place] += events
        total[place] += events
    visitors = {site.site: site.visitors for site in old.sites}
    listed = [SiteSummary(site, tuple(events), visitors.get(site, NOT_COUNTED)) for site, events in sites.items()]
    return replace(old, events=tuple(total), other_sites=tuple(others), sites=_largest_first(listed))


def count_sites(context: PassContext, after: Snapshot, recent: RecentDays) -> Summary:
    """A summary with the events of all sites, from the counters. Raises PartDamaged."""
    events: dict[str | None, list[int]] = {None: [0] * SUMMARY_DAYS}
    for start, site, count in _rows(context, after, recent):
        place = recent.place(start)
        if place is not None:
            events.setdefault(site, [0] * SUMMARY_DAYS)[place] = count
    totals = tuple(map(sum, zip(*events.values(), strict=True)))
    others = tuple(events.pop(None))
    sites = [SiteSummary(site, tuple(counts), NOT_COUNTED) for site, counts in events.items() if site is not None]
    return Summary(context.settings.timezone, recent.days, totals, NOT_COUNTED, _largest_first(sites), others)


def _rows(context: PassContext, after: Snapshot, recent: RecentDays) -> list[tuple[datetime, str | None, int]]:
    """(start of the day, site, events)."""
    text = sql_file(
        __file__,
        "site_events.sql",
        rows=counters_of(context, after, recent.utc_days(after)),
        total=TOTAL,
        other=OTHER,
        most=str(SITES_MAX),
        site_number=TextNumbers(keyed=True).number("site"),
    )
    return context.database.execute(text, {"starts": list(recent.starts)}).fetchall()


def _largest_first(sites: Iterable[SiteSummary]) -> tuple[SiteSummary, ...]:
    return tuple(sorted((site for site in sites if any(site.events)), key=lambda site: (-sum(site.events), site.site)))
