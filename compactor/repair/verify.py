"""`foldlog verify`: count everything again from the retained log and the archive, and
compare the result with what is published.

No recorded result of a pass is trusted. Each finding gives the file, the problem and
the action.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from compactor.fold.verify_segments import verify_segment
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.repair.verify_archive import check_counters, check_log, check_parts
from compactor.repair.verify_finding import VerifyFinding
from compactor.repair.verify_log import check_active, check_segments
from compactor.repair.verify_snapshot import (
    check_erasures,
    check_later_parts,
    check_ledger,
    check_snapshots,
    check_totals,
)
from compactor.repair.verify_visits import check_visits
from compactor.threads import fold_threads
from shared.disk.durable import scratch
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.part_presence import referenced_parts
from shared.segments.sealed import sealed_segments
from shared.settings import Settings


class Verified(NamedTuple):
    """How much was checked, and the findings. No findings: every check passed.
    `absorbed`: how many of the events other instances of the store have counted first.
    """

    segments: int
    lines: int
    parts: int
    events: int
    findings: list[VerifyFinding]
    absorbed: int = 0


def verify(data: DataDirectory, settings: Settings, progress: Callable[[str], None]) -> Verified:
    """Check every sha256 and CRC, the ledger, the counters and the balance of lines
    (P8). Raises CompactorBusy.
    """
    with (
        compactor_lock(data, LOCK_TIMEOUT_S),
        scratch(data) as directory,
        closing(connect(settings.fold_memory, fold_threads(data, settings), directory)) as database,
    ):
        segments = sealed_segments(data)
        findings, snapshot = check_snapshots(data)
        if snapshot.generation:
            findings += [*check_ledger(snapshot, segments), *check_totals(data, snapshot)]
            if not any(each.where == data.snapshot.name for each in findings):
                findings += check_later_parts(data, snapshot)
        progress("segments")
        verified = [verify_segment(data, segment, directory) for segment in segments]
        findings += [*check_segments(verified), *check_active(data)]
        progress("parts")
        damaged = list(check_parts(data, snapshot))
        unfinished = list(check_erasures(data))
        findings += [*damaged, *unfinished]
        if not damaged:  # a damaged part cannot be counted
            progress("counters")
            findings += check_counters(database, data, snapshot, settings)
            progress("visits")
            findings += check_visits(database, data, snapshot)
            if not unfinished:
                progress("log against archive")
                findings += check_log(database, data, snapshot, verified, settings)
        lines = sum(each.lines for each in verified)
        parts = sum(1 for _ in referenced_parts(snapshot))
        absorbed = sum(each.events for each in snapshot.absorbed_instances)
        return Verified(len(segments), lines, parts, snapshot.totals.counted, findings, absorbed)
