"""One compactor pass, top to bottom: segments → fold → parts → snapshot → retention.

Steps before the commit can be repeated, steps after it can be skipped: wherever a pass
is killed, the next one repeats its work, and nothing is counted twice or lost (P5).
"""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
from msgspec.structs import replace

from compactor.attempt import Attempt
from compactor.begun import begun, note_merge, note_retention
from compactor.context import PassContext, pass_context
from compactor.failures import is_of_the_data, safe_reason
from compactor.fold.counters import count_new_events
from compactor.fold.dedupe import deduplicate
from compactor.fold.load import LinesDoNotParse, load_lines
from compactor.fold.referrer_spam import flag_referrer_spam
from compactor.fold.select_segments import PASS_MAX_BYTES, ledger_after, select_segments
from compactor.fold.set_aside import entries_after, leave_out_days, totals_after
from compactor.fold.verify_segments import Piece, verify_piece
from compactor.fold.working_tables import IncomingLines, NewCounters, NewEvents
from compactor.generations.commit import CommitLost, commit
from compactor.generations.day_merge import merge_step, next_day
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.generations.id_index import with_made
from compactor.generations.merge_failure import with_failure
from compactor.generations.part_writer import write_day
from compactor.idle import changes_nothing, finds_nothing, leave_mark
from compactor.lock import CompactorLock
from compactor.retention.apply import apply_retention, delete_expired, plan_retention, warn_of_kept_data
from compactor.retention.plan import RetentionPlan
from compactor.stop import PassStopped, time_limit
from compactor.summary.site_events import added_events
from compactor.summary.summarize import with_summary
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import database_error
from shared.generations.snapshot import Day, LastPass, Snapshot
from shared.log import Log
from shared.segments.recovery import NotASegment, WriterAlive, recover
from shared.segments.sealed import Segment, active_segments, sealed_segments
from shared.settings import Settings
from shared.timestamps import rfc3339, utc_day

# What a pass may take: less than a slow disk and a large merge need would set good
# segments aside, so this is only for a pass that would never end.
TIME_LIMIT_S = 1800.0
BYTES_PER_S_MIN = 20_000
# How long a pass that folds nothing begins steps of further days.
STEPS_S = 5.0


@dataclass(frozen=True)
class Pass:
    """The result of one pass. `more`: unfolded segments remain, because a pass is
    bounded.
    """

    snapshot: Snapshot
    events: NewEvents
    more: bool


def run_pass(
    data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int,
    max_bytes: int = PASS_MAX_BYTES, attempt: Attempt | None = None,
) -> Pass:  # fmt: skip
    """Fold the next sealed segments, about `max_bytes` at most, and publish the next
    generation; none if there is nothing to do. Raises CommitLost, PartDamaged,
    SnapshotLost, PassStopped, PassTooLong and DuckDB's errors.
    """
    started, attempt = time.monotonic(), attempt or Attempt()
    before = load_or_restore_snapshot(data, log, lock)
    recover_abandoned_segments(data, log)
    sealed = sealed_segments(data)
    chosen = attempt.chosen = attempt.pieces or select_segments(before, sealed, max_bytes, attempt.waiting)
    if not (chosen or attempt.retried) and finds_nothing(data, before, sealed, now_ms, settings):
        return ended(data, Pass(before, NewEvents(), more=False), now_ms)

    with time_limit(limit_s(chosen)), pass_context(data, settings, log, lock, now_ms) as context:
        with begun(data, chosen, attempt.stop):
            incoming = load_pieces(context, chosen)
            events = deduplicate(context, before, incoming)
            days = write_parts(context, before, events, attempt)
            added = added_events(context, events.days)
            days |= merge_days(context, before, days, attempt)
            after = next_snapshot(before, incoming, events, days, now_ms, time.monotonic() - started)
            after, expiring = expire(context, before, after, sealed, attempt)
        if not chosen and changes_nothing(context, before, after, expiring, sealed):
            return ended(data, Pass(before, events, more=False), now_ms)
        after = with_summary(context, before, after, added)
        commit(data, before, after, lock)

    delete_expired(data, expiring, log)
    prune_history(data, after)
    log_pass(log, after, incoming, events)
    more = bool(select_segments(after, sealed, 1, attempt.waiting))
    return ended(data, Pass(after, events, more), now_ms)


def ended(data: DataDirectory, done: Pass, now_ms: int) -> Pass:
    """The pass, once it has left its mark."""
    leave_mark(data, now_ms)
    return done


def limit_s(chosen: Sequence[Piece]) -> float:
    return TIME_LIMIT_S + sum(piece.plain_bytes for piece in chosen) / BYTES_PER_S_MIN


def recover_abandoned_segments(data: DataDirectory, log: Log) -> None:
    """Seal the active segments of dead writers. A living writer holds its lock, and is
    skipped.
    """
    for writer in active_segments(data):
        try:
            recovered = recover(data, writer)
        except WriterAlive:
            continue
        except NotASegment as error:  # it stops its writer, and nothing else
            log.warning("segment_not_a_file", writer=writer, reason=str(error))
            continue
        if recovered is not None:
            log.info("segment_recovered", writer=writer, lines=recovered.lines, quarantined=recovered.quarantined)


def load_pieces(context: PassContext, chosen: Sequence[Piece]) -> IncomingLines:
    """Load these segments into the working tables. If DuckDB reads something else than
    their lines, verify every line and load the valid ones.
    """
    if not chosen:
        return IncomingLines()
    verified = [verify_piece(context.data, piece, context.scratch) for piece in chosen]
    try:
        incoming = load_lines(context.database, verified, context.settings.sites)
    except LinesDoNotParse:
        verified = [verify_piece(context.data, piece, context.scratch, each_line=True) for piece in chosen]
        incoming = load_lines(context.database, verified, context.settings.sites)
    flag_referrer_spam(context)
    return leave_out_days(context.database, incoming)


def write_parts(context: PassContext, before: Snapshot, events: NewEvents, attempt: Attempt) -> dict[date, Day]:
    """Publish the parts of every day that this pass changes."""
    days = {
        day: replace(before.days[day], ids=with_made(before.days[day].ids, ids)) for day, ids in events.made_ids.items()
    }
    new = count_new_events(context, before, events) if events.days else NewCounters()
    for day in events.days:
        attempt.begins(day)
        days[day] = write_day(context, before, day, events, new, before.generation + 1)
    return days


def merge_days(context: PassContext, before: Snapshot, touched: Container[date], attempt: Attempt) -> dict[date, Day]:
    """Do one step of at most one finished day: of its merge, or its visits. A pass that
    folds nothing goes on with other days for STEPS_S, and then ends, so that events
    that come meanwhile wait for one step at most.
    """
    attempt.begins(None)
    # What expires at the end of the pass would be made in vain.
    first = utc_day(context.now_ms) - timedelta(days=context.settings.archive_retention_days)
    ends, days, merged = time.monotonic() + STEPS_S, dict[date, Day](), set[date]()
    day = attempt.retried or next_day(before, touched, context.now_ms)
    while day is not None and day not in touched:
        found = merge_day(context, replace(before, days={**before.days, **days}), day, attempt)
        days |= {each: kept for each, kept in found.items() if each not in touched}
        merged.add(day)
        is_alone = not attempt.chosen and attempt.retried is None and not attempt.stop.is_asked
        if not is_alone or found[day].merge_failure is not None or time.monotonic() >= ends:
            break
        after = replace(before, days={**before.days, **days})
        day = next_day(after, touched, context.now_ms, merged)
        if day is not None and day <= first:
            break
    return days


def merge_day(context: PassContext, before: Snapshot, day: date, attempt: Attempt) -> dict[date, Day]:
    """Do one step of a day. One that cannot be merged is left as it is, whatever the
    reason: the merge is optional.
    """
    attempt.merging = day
    note_merge(context.data, day, attempt.stop)
    try:
        merged = merge_step(context, before, day)
    except (PassStopped, CommitLost, database_error("InterruptException")):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the fold goes on
        context.log.warning("day_merge_failed", day=str(day), reason=safe_reason(error))
        is_of_day = is_of_the_data(error)
        merged = {day: with_failure(before.days[day], safe_reason(error), context.now_ms, is_of_day=is_of_day)}
    attempt.merging = None
    return merged


def expire(
    context: PassContext, before: Snapshot, after: Snapshot, sealed: Sequence[Segment], attempt: Attempt
) -> tuple[Snapshot, RetentionPlan]:
    """The next generation after retention. A day that cannot be counted one last time
    stays, and everything else with it, and the record says why.
    """
    note_retention(context.data, attempt.stop)
    plan = plan_retention(context.data, before, after, sealed, context.now_ms, context.settings)
    if attempt.keeps_all:
        plan = RetentionPlan(plan.at, "the process ended during it", plan.clock_suspect_since)
    try:
        return apply_retention(context, after, plan), plan
    except Exception as error:
        if not is_of_the_data(error):
            raise
        nothing = RetentionPlan(plan.at, f"it failed: {safe_reason(error)}", plan.clock_suspect_since)
        return apply_retention(context, after, nothing), nothing


def next_snapshot(
    before: Snapshot, incoming: IncomingLines, events: NewEvents, days: dict[date, Day], now_ms: int, seconds: float
) -> Snapshot:
    """The next generation, before retention. Counts and the ledger of the counted
    segments change together (P5).
    """
    segments = incoming.segments
    lines = sum(each.lines + each.quarantined for each in segments)
    ledger = ledger_after(before, {each.segment.name: each.end for each in segments if not each.again})
    return msgspec.structs.replace(
        before,
        generation=before.generation + 1,
        as_of=rfc3339(now_ms),
        folded=ledger.folded,
        missing=ledger.missing,
        partial=ledger.partial,
        set_aside=entries_after(before, incoming),
        totals=totals_after(before.totals, incoming, events),
        days={**before.days, **days},
        last_pass=LastPass(len(segments), lines, round(seconds, 3)),
    )


def log_pass(log: Log, after: Snapshot, incoming: IncomingLines, events: NewEvents) -> None:
    """Log the pass in one line, and each damaged segment in another."""
    for each in incoming.segments:
        if each.damaged:
            log.warning(
                "segment_damaged", segment=each.segment.path.name, lines=each.lines, quarantined=each.quarantined
            )
    warn_of_kept_data(log, after.retention)
    log.info(
        "pass_folded",
        generation=after.generation,
        segments=after.last_pass.segments,
        lines=after.last_pass.lines,
        counted=events.counted,
        duplicates=events.duplicates,
        seconds=after.last_pass.seconds,
    )
