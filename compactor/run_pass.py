"""One compactor pass, top to bottom: segments → fold → parts → snapshot → retention.

Steps before the commit can be repeated, steps after it can be skipped: wherever a pass
is killed, the next one repeats its work, and nothing is counted twice or lost (P5).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import msgspec
from msgspec.structs import replace

from compactor.context import PassContext, pass_context
from compactor.fold.counters import count_new_events
from compactor.fold.dedupe import deduplicate
from compactor.fold.load import LinesDoNotParse, load_lines
from compactor.fold.select_segments import PASS_MAX_BYTES, ledger_after, select_segments
from compactor.fold.verify_segments import verify_segment
from compactor.fold.working_tables import IncomingLines, NewEvents
from compactor.generations.commit import commit
from compactor.generations.day_merge import merge_finished_day
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.generations.id_index import with_made
from compactor.generations.part_writer import write_day
from compactor.lock import CompactorLock
from compactor.retention.apply import apply_retention, delete_expired, plan_retention, warn_of_kept_data
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Day, LastPass, Snapshot
from shared.log import Log
from shared.segments.recovery import WriterAlive, recover
from shared.segments.sealed import Segment, active_segments, sealed_segments
from shared.settings import Settings
from shared.timestamps import rfc3339


@dataclass(frozen=True)
class Pass:
    """The result of one pass. `more`: unfolded segments remain, because a pass is
    bounded.
    """

    snapshot: Snapshot
    events: NewEvents
    more: bool


def run_pass(
    data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int, max_bytes: int = PASS_MAX_BYTES
) -> Pass:
    """Fold the next sealed segments, about `max_bytes` at most, and publish the next
    generation. Raises CommitLost, PartDamaged, SnapshotLost and DuckDB's errors.
    """
    started = time.monotonic()
    before = load_or_restore_snapshot(data, log, lock)
    recover_abandoned_segments(data, log)
    sealed = sealed_segments(data)
    chosen = select_segments(before, sealed, max_bytes)

    with pass_context(data, settings, log, lock, now_ms) as context:
        incoming = load_segments(context, chosen)
        events = deduplicate(context, before, incoming)
        days = write_parts(context, before, events)
        days |= merge_finished_day(context, before, days)
        after = next_snapshot(before, incoming, events, days, now_ms, time.monotonic() - started)
        expiring = plan_retention(data, before, after, sealed, now_ms, settings)
        after = apply_retention(context, after, expiring)
        commit(data, before, after, lock)

    delete_expired(expiring)
    prune_history(data, after)
    log_pass(log, after, incoming, events)
    return Pass(after, events, more=len(select_segments(after, sealed, 1)) > 0)


def recover_abandoned_segments(data: DataDirectory, log: Log) -> None:
    """Seal the active segments of dead writers. A living writer holds its lock, and is
    skipped.
    """
    for writer in active_segments(data):
        try:
            recovered = recover(data, writer)
        except WriterAlive:
            continue
        if recovered is not None:
            log.info("segment_recovered", writer=writer, lines=recovered.lines, quarantined=recovered.quarantined)


def load_segments(context: PassContext, chosen: Sequence[Segment]) -> IncomingLines:
    """Load these segments into the working tables. If DuckDB reads something else than
    their lines, verify every line and load the valid ones.
    """
    if not chosen:
        return IncomingLines()
    verified = [verify_segment(context.data, segment, context.scratch) for segment in chosen]
    try:
        return load_lines(context.database, verified, context.settings.sites)
    except LinesDoNotParse:
        verified = [verify_segment(context.data, segment, context.scratch, each_line=True) for segment in chosen]
        return load_lines(context.database, verified, context.settings.sites)


def write_parts(context: PassContext, before: Snapshot, events: NewEvents) -> dict[date, Day]:
    """Publish the parts of every day that this pass changes."""
    if not events.days:
        return {}
    new = count_new_events(context, before, events)
    generation = before.generation + 1
    days = {
        day: replace(before.days[day], ids=with_made(before.days[day].ids, ids)) for day, ids in events.made_ids.items()
    }
    return days | {day: write_day(context, before, day, events, new, generation) for day in events.days}


def next_snapshot(
    before: Snapshot, incoming: IncomingLines, events: NewEvents, days: dict[date, Day], now_ms: int, seconds: float
) -> Snapshot:
    """The next generation, before retention. Counts and the ledger of the counted
    segments change together (P5).
    """
    segments = incoming.segments
    highest, missing = ledger_after(before, [each.segment.name for each in segments])
    lines = sum(each.lines + each.quarantined for each in segments)
    old = before.totals
    return msgspec.structs.replace(
        before,
        generation=before.generation + 1,
        as_of=rfc3339(now_ms),
        folded=highest,
        missing=missing,
        totals=msgspec.structs.replace(
            old,
            lines=old.lines + lines,
            counted=old.counted + events.counted,
            duplicates=old.duplicates + events.duplicates,
            conflicts=old.conflicts + events.conflicts,
            quarantined=old.quarantined + sum(each.quarantined for each in segments),
            damaged_segments=old.damaged_segments + sum(each.damaged for each in segments),
        ),
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
