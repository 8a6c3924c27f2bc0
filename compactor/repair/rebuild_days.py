"""The days of a rebuild: which are written again, and how each one changes."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from compactor.context import PassContext
from compactor.generations.archive import archived_events
from compactor.generations.part_writer import rewrite_day
from compactor.repair.rebuild_sources import Sources, collect_day
from compactor.repair.unreferenced_parts import AcceptedParts, DamagedPart, without_damaged
from compactor.sql import count_rows
from shared.generations.snapshot import Day, Snapshot
from shared.lateness import dedupe_window
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.archive_events import id_number_sql
from shared.sql.texts import TextNumbers

# Numbers separate texts that share a hash.
_STRONG = TextNumbers(strong=True)
_VISITOR = _STRONG.number("visitor")
# Whole events would not fit into memory. A control character stands for NULL.
_CONTENT = ", ".join(f"coalesce({name}::VARCHAR, chr(30))" for name in ARCHIVE_COLUMNS)
_NUMBERED = f"{id_number_sql('site', 'id')}, {_STRONG.number(f'concat_ws(chr(31), {_CONTENT})')}"


class DayChange(NamedTuple):
    """One day before and after: events, and distinct visitors.

    `visitors_before` are those of the intact parts. `damaged`: its damaged parts;
    `lost`: events that only those had. `found`: events present only in unreferenced
    parts.
    """

    day: date
    events_before: int
    events_after: int
    visitors_before: int
    visitors_after: int
    rows_changed: int
    damaged: int = 0
    lost: int = 0
    found: int = 0

    @property
    def changed(self) -> bool:
        return self.rows_changed > 0 or self.events_before != self.events_after or self.damaged > 0


class Rebuild(NamedTuple):
    """A rebuild that is ready to write. `generation` is the one it creates.
    `is_reconstructed`: no snapshot was valid, and `before` was made from the parts.
    """

    context: PassContext
    before: Snapshot
    damaged: list[DamagedPart]
    accepted: AcceptedParts
    sources: Sources
    generation: int
    is_reconstructed: bool

    def damaged_on(self, day: date) -> list[DamagedPart]:
        return [each for each in self.damaged if each.day == day]


def rebuild_days(work: Rebuild, *, dry_run: bool) -> tuple[list[DayChange], dict[date, Day]]:
    """Write again each day that may change. Returns the changes, and all days as they
    are afterwards.
    """
    changes, days = [], dict(work.before.days)
    for day in _days_to_rebuild(work):
        old = work.accepted.snapshot.days.get(day, Day(work.context.now))
        # The retained log does not have all events of a day whose archive has expired.
        if old.expired:
            change, days[day] = _use_fallback(work, day, old)
        else:
            change, days[day] = _rebuild_day(work, day, old, dry_run=dry_run)
        changes += [change] if change else []
    return changes, days


def _days_to_rebuild(work: Rebuild) -> list[date]:
    """Days with events in the log, days near those, and days of damaged parts."""
    accepted, replayed = work.accepted.snapshot.days, work.sources.folded.snapshot.days
    if work.is_reconstructed:
        nearby = set(accepted)
    else:
        nearby = dedupe_window({*replayed, *work.accepted.unreferenced_days}) & accepted.keys()
    days = {*replayed, *nearby, *(each.day for each in work.damaged)}
    return sorted(days - work.before.dropped_days.keys())


def _use_fallback(work: Rebuild, day: date, old: Day) -> tuple[DayChange | None, Day]:
    """A day without a complete archive: other counters on disk replace lost ones."""
    fallback = work.accepted.fallbacks.get(day)
    if fallback is None:
        return None, old
    events = fallback.events
    return DayChange(day, events, events, 0, 0, 0, len(work.damaged_on(day))), fallback.day


def _rebuild_day(work: Rebuild, day: date, old: Day, *, dry_run: bool) -> tuple[DayChange, Day]:
    collect_day(work.context.database, work.sources, day)
    change = _compare(work, day)
    fallback = work.accepted.fallbacks.get(day)
    # If the archive expired while the directory was copied, the counters written at its
    # expiry are complete. Without visitors they are still better than no events.
    if fallback and fallback.events > change.events_after and (fallback.has_visitors or not change.events_after):
        lost = max(0, change.events_before - fallback.events)
        return change._replace(events_after=fallback.events, lost=lost, found=0), fallback.day
    if dry_run:
        return change, old
    return change, rewrite_day(work.context, day, old, "rebuilt", change.events_after, work.generation)


def _compare(work: Rebuild, day: date) -> DayChange:
    """How the view `rebuilt` differs from the intact parts of the day."""
    database, before = work.context.database, work.before.days.get(day, Day(""))
    old = archived_events(work.context.data, without_damaged(work.before, work.damaged), [day])
    damaged = work.damaged_on(day)
    events_after = count_rows(database, "kept_rows")
    # The events of an expired day are known only from its counters.
    events_before = events_after if before.expired else sum(part.rows for part in before.archive)
    has_lost_archive = any(each.kind == "archive" for each in damaged)
    return DayChange(
        day,
        events_before,
        events_after,
        _count_visitors(work, old),
        _count_visitors(work, "rebuilt"),
        count_rows(database, f"(SELECT {_NUMBERED} FROM rebuilt EXCEPT SELECT {_NUMBERED} FROM {old})"),
        len(damaged),
        max(0, events_before - events_after) if has_lost_archive else 0,
        _count_found(work, old),
    )


def _count_visitors(work: Rebuild, events: str) -> int:
    return count_rows(work.context.database, f"(SELECT DISTINCT {_VISITOR} FROM {events} WHERE visitor IS NOT NULL)")


def _count_found(work: Rebuild, old: str) -> int:
    """Events of unreferenced parts that the intact parts do not have."""
    same = f"{id_number_sql('o.site', 'o.id')} = k.id_number AND o.site = k.site AND o.id = k.id"
    found = "(FROM kept_rows WHERE is_unreferenced)"
    return count_rows(work.context.database, f"{found} k ANTI JOIN {old} o ON {same}")
