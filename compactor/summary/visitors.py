"""The visitors of a day, counted from the archive once its UTC days are merged."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.generations.archive import archived_events
from compactor.sql import sql_file
from compactor.summary.recent_days import RecentDays
from shared.generations.snapshot import Day, Snapshot
from shared.generations.summary import SUMMARY_DAYS, Summary, Visitors
from shared.sql.texts import TextNumbers

COUNTED_A_PASS = 2


def with_known_visitors(
    new: Summary, old: Summary, before: Snapshot, after: Snapshot, recent: RecentDays
) -> Summary:  # fmt: skip
    """`new` with the visitors that `old` has, of days whose events are the same."""
    places = [old.days.index(day) if day in old.days else None for day in recent.days]
    kept = [_has_same_events(before, after, recent, place) for place in range(SUMMARY_DAYS)]

    def keep(values: Visitors) -> Visitors:
        return tuple(
            values[place] if is_kept and place is not None else None
            for place, is_kept in zip(places, kept, strict=True)
        )

    known = {site.site: keep(site.visitors) for site in old.sites}
    sites = tuple(replace(site, visitors=known.get(site.site, site.visitors)) for site in new.sites)
    return replace(new, visitors=keep(old.visitors), sites=sites)


def with_next_visitors(
    context: PassContext, before: Snapshot, after: Snapshot, recent: RecentDays, summary: Summary
) -> Summary:
    """The visitors of the newest days that can be counted and are not yet, as many as
    the UTC days that this pass has merged can overlap, or one of them can. Raises
    PartDamaged.
    """
    merged = sum(
        day.merged and day.archive != before.days.get(name, Day("")).archive for name, day in after.days.items()
    )
    missing = (place for place in range(SUMMARY_DAYS) if summary.visitors[place] is None and summary.events[place])
    for place in islice(
        (place for place in missing if _can_be_counted(after, recent, place)), COUNTED_A_PASS * max(1, merged)
    ):
        summary = _with_counts(summary, place, _count(context, after, recent, place))
    return summary


def _has_same_events(before: Snapshot, after: Snapshot, recent: RecentDays, place: int) -> bool:
    """Whether no event has come to a day or gone from it, except with the archive."""
    none = Day("")
    pairs = [
        (before.days.get(day, none), after.days.get(day, none))
        for day in {*recent.utc_days(before, place, place), *recent.utc_days(after, place, place)}
    ]
    return all(new.expired or (new.merged and old.archive == new.archive) for old, new in pairs)


def _can_be_counted(after: Snapshot, recent: RecentDays, place: int) -> bool:
    kept = [after.days[day] for day in recent.utc_days(after, place, place)]
    return all(day.merged and not day.expired for day in kept)


def _count(context: PassContext, after: Snapshot, recent: RecentDays, place: int) -> dict[str | None, int]:
    """The visitors of a day by site; None stands for all sites."""
    start, end = recent.span(place, place)
    events = archived_events(context.data, after, recent.utc_days(after, place, place))
    text = sql_file(
        __file__,
        "visitors.sql",
        events=events,
        site_number=TextNumbers(keyed=True).number("site"),
        visitor_number=TextNumbers(strong=True).number("visitor"),
    )
    return dict(context.database.execute(text, {"start": start, "end": end}).fetchall())


def _with_counts(summary: Summary, place: int, found: Mapping[str | None, int]) -> Summary:
    def put(values: Visitors, site: str | None) -> Visitors:
        return (*values[:place], found.get(site, 0), *values[place + 1 :])

    sites = tuple(replace(site, visitors=put(site.visitors, site.site)) for site in summary.sites)
    return replace(summary, visitors=put(summary.visitors, None), sites=sites)
