"""Making the summary of a snapshot (shared/generations/summary.py).

A pass adds what it counted, so it costs what is new. Once a day, and where counters
have changed otherwise, the events of the sites are summed up again.
"""

from __future__ import annotations

from datetime import date

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.failures import is_of_the_data, safe_reason
from compactor.generations.visit_freshness import without_stale_visits
from compactor.summary.recent_days import RecentDays, recent_days
from compactor.summary.site_events import AddedEvents, count_sites, with_added
from compactor.summary.top_values import is_due, with_top_values
from compactor.summary.visitors import with_known_visitors, with_next_visitors
from shared.generations.snapshot import Snapshot
from shared.generations.summary import Summary


def with_summary(context: PassContext, before: Snapshot, after: Snapshot, added: AddedEvents | None = None) -> Snapshot:
    """`after` as it is committed: without visits that do not hold any more, and with
    the summary of its days. Without one where they cannot be read: nothing else depends
    on it, and the next generation tries again.
    """
    after = without_stale_visits(after)
    try:
        return replace(after, summary=_summarize(context, before, after, added or AddedEvents()))
    except Exception as error:
        if not is_of_the_data(error):
            raise
        context.log.warning("summary_failed", reason=safe_reason(error))
        return replace(after, summary=None)


def _summarize(context: PassContext, before: Snapshot, after: Snapshot, added: AddedEvents) -> Summary:
    recent, old = recent_days(context), before.summary
    if old is not None and old.zone != context.settings.timezone:
        old = None
    changed = _changed_days(before, after, recent)
    if old is not None and old.days == recent.days and changed <= set(added.days):
        summary = with_added(old, recent, added)
        is_top_due = bool(changed) and is_due(summary, after, recent)
    else:
        summary = count_sites(context, after, recent)
        is_top_due = True
    if old is not None:
        summary = with_known_visitors(summary, old, before, after, recent)
    summary = with_next_visitors(context, before, after, recent, summary)
    return with_top_values(context, after, recent, summary) if is_top_due else summary


def _changed_days(before: Snapshot, after: Snapshot, recent: RecentDays) -> set[date]:
    """The UTC days whose counters differ."""
    days = {*recent.utc_days(before), *recent.utc_days(after)}
    return {day for day in days if _counters(before, day) != _counters(after, day)}


def _counters(snapshot: Snapshot, day: date) -> object:
    kept = snapshot.days.get(day)
    return kept.counters if kept else ()
