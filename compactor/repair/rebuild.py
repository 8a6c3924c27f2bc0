"""`foldlog rebuild`: fold the retained log again with today's rules, and publish the
result.

The ordinary pass folds the log from nothing into a scratch directory. Then each day is
written again: events that the retained log still has, as they are folded now, and older
ones as they were archived. Readers see the change at the commit.

A rebuild also replaces damaged parts: their events come from the log or from
unreferenced parts, or are reported as lost. Where no snapshot is valid it reconstructs
one from the parts that can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec

from compactor.absorb.note import note_guessed
from compactor.context import PassContext, pass_context
from compactor.erasure.rewrite import finish_log_rewrites
from compactor.generations.commit import commit, has_no_valid_snapshot, quarantine_file, replace_damaged
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.next_generation import next_generation
from compactor.repair.directory_check import (
    delete_unusable_fallbacks,
    erased_since,
    parts_beyond_next,
    sweep_leftovers,
)
from compactor.repair.rebuild_days import DayChange, Rebuild, rebuild_days
from compactor.repair.rebuild_sources import open_sources
from compactor.repair.reconstruct_snapshot import reconstruct_snapshot, reconstructed_totals
from compactor.repair.unreferenced_parts import AcceptedParts, collect_unreferenced_parts, find_damaged_parts
from compactor.summary.summarize import with_summary
from shared.disk.control_files import touch
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot, newest_part_generation
from shared.generations.snapshot import Day, Snapshot, Totals
from shared.log import Log
from shared.settings import Settings


def rebuild(data: DataDirectory, settings: Settings, log: Log, now_ms: int, *, dry_run: bool) -> list[DayChange]:
    """Fold the retained log again. Returns every day that was compared, changed or not.
    Raises CompactorBusy and CommitLost.
    """
    with (
        compactor_lock(data, LOCK_TIMEOUT_S) as lock,
        pass_context(data, settings, log, lock, now_ms) as context,
    ):
        if not dry_run:
            finish_log_rewrites(data)
        work = _prepare(context, dry_run=dry_run)
        changes, days = rebuild_days(work, dry_run=dry_run)
        if not dry_run:
            _publish(work, with_summary(context, work.before, _next_snapshot(work, days, changes)))
        return changes


def _prepare(context: PassContext, *, dry_run: bool) -> Rebuild:
    """Find the damaged parts, the unreferenced ones, and what the log still has."""
    data, log = context.data, context.log
    is_reconstructed = has_no_valid_snapshot(data)
    before = _starting_snapshot(context, is_reconstructed=is_reconstructed, dry_run=dry_run)
    damaged = find_damaged_parts(data, before, log)
    # Beside damaged parts, a leftover may be the only copy of an event.
    if not (damaged or is_reconstructed or dry_run):
        sweep_leftovers(data, before, log)
    accepted = collect_unreferenced_parts(context, before, damaged)
    _warn_of_erasures(context, before, accepted, is_reconstructed=is_reconstructed)
    sources = open_sources(context, before, accepted, is_reconstructed=is_reconstructed)
    # A part that may be the only copy of an event must not be overwritten, not even one
    # of the next generation.
    is_copy = accepted.unreferenced or any(parts_beyond_next(data, before))
    generation = max(before.generation, newest_part_generation(data) if is_copy else 0) + 1
    return Rebuild(context, before, damaged, accepted, sources, generation, is_reconstructed)


def _starting_snapshot(context: PassContext, *, is_reconstructed: bool, dry_run: bool) -> Snapshot:
    if is_reconstructed:
        reason = "no snapshot is valid; one is reconstructed from the parts that can be read"
        context.log.warning("snapshot_lost", reason=reason)
        return reconstruct_snapshot(context, dry_run=dry_run)
    if dry_run:
        return load_snapshot(context.data)
    return load_or_restore_snapshot(context.data, context.log, context.lock)


def _warn_of_erasures(
    context: PassContext, before: Snapshot, accepted: AcceptedParts, *, is_reconstructed: bool
) -> None:
    """Unreferenced parts may predate an erasure and still contain the erased
    visitor.
    """
    generations = accepted.unreferenced_generations
    if is_reconstructed:
        generations |= {part.generation for kept in before.days.values() for part in kept.archive}
    if generations and (erased_at := erased_since(context.data, min(generations))):
        reason = "the rebuild uses parts that were written before these visitors were erased"
        action = "erase these visitors again: foldlog erase --visitor ID"
        context.log.warning("erasure_may_be_undone", erased_at=erased_at, reason=reason, action=action)


def _next_snapshot(work: Rebuild, days: dict[date, Day], changes: Iterable[DayChange]) -> Snapshot:
    """The next generation. Its ledger is unchanged: every segment in it is folded.

    What is set aside is marked as tried by no version, so that the next pass tries it
    again: the rebuild may have removed the reason.
    """
    replayed = work.sources.folded.snapshot
    if work.is_reconstructed:
        totals, set_aside = reconstructed_totals(work.context, days, replayed.totals), replayed.set_aside
    else:
        totals, set_aside = balanced_totals(work.before.totals, changes), work.before.set_aside
    return msgspec.structs.replace(
        next_generation(work.context, work.before),
        generation=work.generation,
        days=days,
        totals=totals,
        set_aside=tuple(msgspec.structs.replace(entry, version="") for entry in set_aside),
    )


def balanced_totals(old: Totals, changes: Iterable[DayChange]) -> Totals:
    """The totals after a rebuild; they still add up (P8).

    Lost events count as quarantined, as their part is in quarantine. Events that only
    unreferenced parts have are lines not counted before. Any other event that is
    counted in addition was a duplicate before, or quarantined, or erased.
    """
    net = lost = added = 0
    for change in changes:
        gained = change.events_after - change.events_before
        net += gained
        lost += change.lost
        added += min(change.found, max(0, gained))
    gained = net + lost - added
    not_duplicates = max(0, gained - old.duplicates)
    from_erased = min(old.erased, max(0, not_duplicates - old.quarantined))
    from_quarantine = not_duplicates - from_erased
    return msgspec.structs.replace(
        old,
        lines=old.lines + added,
        counted=old.counted + net,
        duplicates=old.duplicates - gained + not_duplicates,
        quarantined=old.quarantined - from_quarantine + lost,
        erased=old.erased - from_erased,
    )


def _publish(work: Rebuild, after: Snapshot) -> None:
    """Quarantine the damaged parts, then commit."""
    data, lock = work.context.data, work.context.lock
    if work.is_reconstructed or work.accepted.unreferenced:
        note_guessed(data, after)
    for each in work.damaged:
        path = data.part(each.kind, each.day, each.part.generation)
        quarantine_file(data, path, f"{each.kind}-{each.day}-{path.name}")
    if work.is_reconstructed:
        replace_damaged(data, after, lock)
    else:
        commit(data, work.before, after, lock)
    prune_history(data, after)
    delete_unusable_fallbacks(data)
    touch(data.fold_request)  # a compactor that waits after failures goes on
