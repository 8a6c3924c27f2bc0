"""One compactor pass, top to bottom: segments → fold → parts → snapshot → retention.

Everything before the commit can be done again, everything after it can be left undone:
a pass that is killed anywhere is repeated by the next one, and nothing is counted twice
or lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import msgspec

from compactor.fold.load import Folded, LinesDoNotParse, deduplicate, read_lines
from compactor.fold.select_segments import PASS_MAX_BYTES, ledger_after, plan_segments
from compactor.fold.verify_segments import Checked, check
from compactor.generations.commit import CompactorLock, commit, drop_old_snapshots, restore
from compactor.generations.day_merge import settle
from compactor.generations.part_writer import count_fresh, write_day
from compactor.retention.apply import plan_retention, remove_expired, retain, say_retention
from shared.disk.durable import scratch
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import find_snapshot
from shared.generations.snapshot import Day, LastPass, Snapshot
from shared.log import Log
from shared.segments.recovery import WriterAlive, recover
from shared.segments.sealed import Segment, active_segments, sealed_segments
from shared.settings import Settings
from shared.timestamps import rfc3339

# One core is the workers': with every core folding, the p99 of ingest was eight times
# what it is at rest, with one fewer 1.5. Each wants its share of FOLDLOG_FOLD_MEMORY,
# so they are no more than four.
THREADS = max(1, min(4, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True)
class Pass:
    """What one pass did. `more` says that unfolded segments are left because one pass
    is bounded.
    """

    snapshot: Snapshot
    folded: Folded
    more: bool


def run_pass(
    data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, now_ms: int, max_bytes: int = PASS_MAX_BYTES
) -> Pass:
    """Fold the next sealed segments and publish the next generation. Raises CommitLost
    when somebody else did.
    """
    started = time.monotonic()
    before = whole_snapshot(data, log, lock)
    recover_orphans(data, log)
    sealed = sealed_segments(data)
    chosen = plan_segments(before, sealed, max_bytes)

    with scratch(data) as spill, closing(connect(settings.fold_memory, THREADS, spill)) as database:
        checked = read_segments(database, data, chosen, spill, settings)
        folded = deduplicate(database, data, before)
        days = write_parts(database, data, before, folded, settings, now_ms)
        days |= settle(database, data, before, days, now_ms, log)
        after = next_snapshot(before, checked, folded, days, now_ms, time.monotonic() - started)
        expiring = plan_retention(data, before, after, sealed, now_ms, settings)
        after = retain(database, data, after, expiring, settings)
        commit(data, before, after, lock)

    remove_expired(expiring)
    drop_old_snapshots(data, after)
    say(log, after, checked, folded)
    return Pass(after, folded, more=len(plan_segments(after, sealed, 1)) > 0)


def whole_snapshot(data: DataDirectory, log: Log, lock: CompactorLock) -> Snapshot:
    """The snapshot to go on from. A damaged one is set aside and replaced first. Raises
    SnapshotLost and CommitLost.
    """
    found = find_snapshot(data)
    if found.damage is None:
        return found.snapshot
    restored = restore(data, found, lock)
    log.warning(
        "snapshot_damaged", reason=found.damage, went_back_to=found.snapshot.generation, generation=restored.generation
    )
    return restored


def recover_orphans(data: DataDirectory, log: Log) -> None:
    """Seal what dead writers left open. A living writer's lock is not free, and it is
    left alone.
    """
    for writer in active_segments(data):
        try:
            recovered = recover(data, writer)
        except WriterAlive:
            continue
        if recovered is not None:
            log.info("segment_recovered", writer=writer, lines=recovered.lines, quarantined=recovered.quarantined)


def read_segments(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, chosen: Sequence[Segment], spill: Path, settings: Settings
) -> list[Checked]:
    """Make the tables of the fold from these segments; look at every line when their
    bytes are not what was sealed.
    """
    checked = [check(data, segment, spill) for segment in chosen]
    try:
        read_lines(database, checked, settings.sites)
    except LinesDoNotParse:
        checked = [check(data, segment, spill, distrust=True) for segment in chosen]
        read_lines(database, checked, settings.sites)
    return checked


def write_parts(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    before: Snapshot,
    folded: Folded,
    settings: Settings,
    now_ms: int,
) -> dict[date, Day]:
    """Publish the parts of every day that this pass touches."""
    count_fresh(database)
    generation, added_at = before.generation + 1, rfc3339(now_ms)
    return {
        day: write_day(
            database, data, day, before.days.get(day, Day(added_at)), folded, generation, added_at, settings.max_values
        )
        for day in folded.days
    }


def next_snapshot(
    before: Snapshot, checked: Sequence[Checked], folded: Folded, days: dict[date, Day], now_ms: int, seconds: float
) -> Snapshot:
    """The next generation, before retention. Counts and the ledger of what was counted
    change together (P5).
    """
    highest, waiting = ledger_after(before, [each.segment.name for each in checked])
    lines = sum(each.lines + each.quarantined for each in checked)
    old = before.totals
    return msgspec.structs.replace(
        before,
        generation=before.generation + 1,
        as_of=rfc3339(now_ms),
        folded=highest,
        waiting=waiting,
        totals=msgspec.structs.replace(
            old,
            lines=old.lines + lines,
            counted=old.counted + folded.counted,
            duplicates=old.duplicates + folded.duplicates,
            conflicts=old.conflicts + folded.conflicts,
            quarantined=old.quarantined + sum(each.quarantined for each in checked),
            damaged_segments=old.damaged_segments + sum(each.damaged for each in checked),
        ),
        days={**before.days, **days},
        last_pass=LastPass(len(checked), lines, round(seconds, 3)),
    )


def say(log: Log, after: Snapshot, checked: Sequence[Checked], folded: Folded) -> None:
    """One line for the pass, and one for each segment that was not what it should
    be.
    """
    for each in checked:
        if each.damaged:
            log.warning(
                "segment_damaged", segment=each.segment.path.name, lines=each.lines, quarantined=each.quarantined
            )
    say_retention(log, after.retention)
    log.info(
        "pass_folded",
        generation=after.generation,
        segments=after.last_pass.segments,
        lines=after.last_pass.lines,
        counted=folded.counted,
        duplicates=folded.duplicates,
        seconds=after.last_pass.seconds,
    )
