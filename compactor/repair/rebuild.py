"""`foldlog rebuild`: fold the retained log again with today's rules, and publish what
comes out.

The log is folded from nothing into a scratch directory by the ordinary pass. Then each
day is written again: events that the retained log still holds as they are folded now,
older ones as they were archived. Only the commit changes what readers see.

This is also what makes a damaged part whole again: nothing of it is believed, so its
events come from the log or from parts that lie beside it, or are gone. And it begins
anew where no snapshot is whole, with the parts that can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

import msgspec

from compactor.context import PassContext, pass_context
from compactor.erasure.rewrite import finish_in_log
from compactor.generations.archive import archive_paths
from compactor.generations.commit import commit, has_no_valid_snapshot, quarantine_file, replace_damaged
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.generations.part_writer import rewrite_day
from compactor.lock import LOCK_TIMEOUT_S, CompactorLock, compactor_lock
from compactor.repair.directory_check import erased_since, forget_incomplete_spares, later_parts, sweep_leftovers
from compactor.repair.rebuild_sources import COLUMNS, Sources, make_rebuilt, make_sources
from compactor.repair.reconstruct_snapshot import adopt, adopted_totals
from compactor.repair.unreferenced_parts import DamagedPart, Salvaged, damaged_parts, salvage, without
from compactor.repair.verify import count
from compactor.retention.plan import doubted_since
from compactor.sql import sql_list
from shared.disk.layout import DataDirectory, parse_part
from shared.generations.load import load_snapshot, newest_part_generation
from shared.generations.snapshot import Day, Snapshot, Totals
from shared.lateness import dedupe_window
from shared.log import Log
from shared.schema import ARCHIVE_COLUMNS
from shared.settings import Settings
from shared.sql.archive_events import empty_relation_sql, from_archive_sql


class DayChange(NamedTuple):
    """One day before and after: events, and distinct visitors.

    `damaged` are its parts that were not whole; `gone` the events that only those held.
    `visitors_before` are those of the whole parts. `found` are events that only parts
    held which the snapshot does not name.
    """

    day: date
    events_before: int
    events_after: int
    visitors_before: int
    visitors_after: int
    rows_changed: int
    damaged: int = 0
    gone: int = 0
    found: int = 0

    @property
    def changed(self) -> bool:
        return self.rows_changed > 0 or self.events_before != self.events_after or self.damaged > 0


def rebuild(data: DataDirectory, settings: Settings, log: Log, now_ms: int, *, dry_run: bool) -> list[DayChange]:
    """Fold the retained log again. Returns every day that it speaks of. Raises
    CompactorBusy and CommitLost.
    """
    with (
        compactor_lock(data, LOCK_TIMEOUT_S) as lock,
        pass_context(data, settings, log, lock, now_ms) as context,
    ):
        if not dry_run:
            finish_in_log(data)
        is_adopted = has_no_valid_snapshot(data)
        if is_adopted:
            log.warning("snapshot_lost", reason="no snapshot is whole; the parts that can be read are believed")
            before = adopt(context, dry_run=dry_run)
        else:
            before = load_snapshot(data) if dry_run else load_or_restore_snapshot(data, log, lock)
        damaged = damaged_parts(data, before, log)
        if not (damaged or is_adopted or dry_run):  # beside damaged parts it may be all there is of an event
            sweep_leftovers(data, before, log)
        salvaged = salvage(context, before, damaged)
        _warn_of_erased(data, before, salvaged, log, is_adopted=is_adopted)
        sources = make_sources(context, before, salvaged, is_adopted=is_adopted)
        # Not over a part that may be all there is of an event: not even one that the
        # next pass would write over.
        is_copy = salvaged.unnamed or any(later_parts(data, before))
        generation = max(before.generation, newest_part_generation(data) if is_copy else 0) + 1
        work = _Work(context, before, damaged, salvaged, sources, generation)
        changes, days = _rebuild_days(work, is_adopted=is_adopted, dry_run=dry_run)
        if not dry_run:
            after = _next(work, days, changes)
            if is_adopted:
                totals = adopted_totals(context, days, sources.log.snapshot.totals)
                after = msgspec.structs.replace(after, totals=totals)
            _publish(work, after, lock, is_adopted=is_adopted)
        return changes


def _warn_of_erased(data: DataDirectory, before: Snapshot, salvaged: Salvaged, log: Log, *, is_adopted: bool) -> None:
    """What is believed without a snapshot that names it may be older than an erasure,
    and hold whom that took out.
    """
    believed = {parse_part(path.name) or 0 for path in salvaged.unnamed}
    if is_adopted:
        believed |= {part.generation for kept in before.days.values() for part in kept.archive}
    if believed and (erased_at := erased_since(data, min(believed))):
        reason = "parts are believed that were made before these visitors were erased"
        do = "erase them again, whoever they were: foldlog erase --visitor ID"
        log.warning("erasure_may_be_undone", erased_at=erased_at, reason=reason, action=do)


class _Work(NamedTuple):
    """What a rebuild knows before it writes. `generation` is the one that it makes."""

    context: PassContext
    before: Snapshot
    damaged: list[DamagedPart]
    salvaged: Salvaged
    sources: Sources
    generation: int

    def broken(self, day: date) -> list[DamagedPart]:
        return [each for each in self.damaged if each.day == day]


def _rebuild_days(work: _Work, *, is_adopted: bool, dry_run: bool) -> tuple[list[DayChange], dict[date, Day]]:
    """Write each day again that may change. Returns the changes, and all days as they
    are then.
    """
    believed, refolded = work.salvaged.snapshot.days, work.sources.log.snapshot.days
    unnamed = {date.fromisoformat(path.parent.name) for path in work.salvaged.unnamed}
    near = believed.keys() if is_adopted else dedupe_window({*refolded, *unnamed}) & believed.keys()
    changes, days = [], dict(work.before.days)
    for day in sorted({*refolded, *near, *(each.day for each in work.damaged)} - work.before.forgotten.keys()):
        old = believed.get(day, Day(work.context.now))
        if old.expired:  # what its archive held is gone: the retained log is not all of that day
            change, days[day] = _stand_in(work, day, old)
        else:
            change, days[day] = _rebuild_day(work, day, old, dry_run=dry_run)
        changes += [change] if change else []
    return changes, days


def _stand_in(work: _Work, day: date, old: Day) -> tuple[DayChange | None, Day]:
    """A day without a whole archive: counters that lie there take the place of lost
    ones. What it lacks of its archive goes.
    """
    spare = work.salvaged.spares.get(day)
    if spare is None:
        return None, old
    return DayChange(day, spare.events, spare.events, 0, 0, 0, len(work.broken(day))), spare.day


def _rebuild_day(work: _Work, day: date, old: Day, *, dry_run: bool) -> tuple[DayChange, Day]:
    make_rebuilt(work.context.database, work.sources, day)
    change = _compare(work, day)
    spare = work.salvaged.spares.get(day)
    if spare and spare.events > change.events_after and (spare.has_visitors or not change.events_after):
        # Its archive went while it was copied: what was kept of it then has it all.
        # Counters alone are better than nothing.
        gone = max(0, change.events_before - spare.events)
        return change._replace(events_after=spare.events, gone=gone, found=0), spare.day
    if dry_run:
        return change, old
    return change, rewrite_day(work.context, day, old, "rebuilt", work.generation)


def _compare(work: _Work, day: date) -> DayChange:
    before = work.before.days.get(day, Day(""))
    whole = without(work.before, work.damaged)
    paths = archive_paths(work.context.data, whole, [day])
    old = from_archive_sql(f"read_parquet({sql_list(paths)})") if paths else empty_relation_sql(ARCHIVE_COLUMNS)
    known = f"FROM {old} o WHERE o.site = r.site AND o.id = r.id"
    visitors = "SELECT DISTINCT visitor FROM {} WHERE visitor IS NOT NULL"
    broken = work.broken(day)
    events_after = count(work.context.database, "FROM rebuilt")
    # Of a day that had lost its archive and has it again, only the counters knew how
    # many there were.
    events_before = events_after if before.expired else sum(part.rows for part in before.archive)
    lost_archive = any(each.kind == "archive" for each in broken)
    return DayChange(
        day,
        events_before,
        events_after,
        count(work.context.database, visitors.format(old)),
        count(work.context.database, visitors.format("rebuilt")),
        count(work.context.database, f"SELECT {COLUMNS} FROM rebuilt EXCEPT SELECT {COLUMNS} FROM {old}"),
        len(broken),
        max(0, events_before - events_after) if lost_archive else 0,
        count(work.context.database, f"FROM rebuilt r WHERE is_unnamed AND NOT EXISTS ({known})"),
    )


def _next(work: _Work, days: dict[date, Day], changes: Iterable[DayChange]) -> Snapshot:
    """The next generation. The ledger is the same: what it names is folded, or gone."""
    # The time of a rebuild takes the place of that of the last pass: a jump of the
    # clock must not be hidden by it (P9).
    retention = msgspec.structs.replace(
        work.before.retention, doubted_since=doubted_since(work.before, work.context.now_ms)
    )
    return msgspec.structs.replace(
        work.before,
        generation=work.generation,
        as_of=work.context.now,
        days=days,
        totals=_balanced(work.before.totals, changes),
        retention=retention,
    )


def _balanced(old: Totals, changes: Iterable[DayChange]) -> Totals:
    """What is counted more or less is balanced by the duplicates (P8).

    Events that are gone with a damaged part are in quarantine, with that part. Those
    that only parts held which the snapshot does not name are lines that it had not
    counted.
    """
    net = gone = added = 0
    for change in changes:
        gained = change.events_after - change.events_before
        net += gained
        gone += change.gone
        added += min(change.found, max(0, gained))
    gained = net + gone - added
    # Other lines counted in addition were duplicates before, or in quarantine, or
    # erased and are back: the sum of all stays.
    from_elsewhere = max(0, gained - old.duplicates)
    from_erased = min(old.erased, max(0, from_elsewhere - old.quarantined))
    from_quarantine = from_elsewhere - from_erased
    return msgspec.structs.replace(
        old,
        lines=old.lines + added,
        counted=old.counted + net,
        duplicates=old.duplicates - gained + from_elsewhere,
        quarantined=old.quarantined - from_quarantine + gone,
        erased=old.erased - from_erased,
    )


def _publish(work: _Work, after: Snapshot, lock: CompactorLock, *, is_adopted: bool) -> None:
    """Commit, with what was damaged in quarantine."""
    data = work.context.data
    for each in work.damaged:
        path = data.part(each.kind, each.day, each.part.generation)
        quarantine_file(data, path, f"{each.kind}-{each.day}-{path.name}")
    (replace_damaged(data, after, lock) if is_adopted else commit(data, work.before, after, lock))
    prune_history(data, after)
    forget_incomplete_spares(data)
