"""When the compactor last looked: the newer of the snapshot and the mark.

A pass that found nothing publishes nothing, and leaves a mark (shared/disk/marks.py).
"""

from __future__ import annotations

import msgspec

from shared.disk.layout import DataDirectory
from shared.disk.marks import read_mark
from shared.generations.snapshot import EMPTY_TIME, Retention, Snapshot
from shared.timestamps import epoch_ms, rfc3339


def last_pass_ms(data: DataDirectory, snapshot: Snapshot) -> int:
    """When the last pass was, in UTC milliseconds; 0 if there was none."""
    return max(epoch_ms(snapshot.as_of), read_mark(data.last_pass) or 0)


def at_last_look(data: DataDirectory, snapshot: Snapshot) -> Snapshot:
    """The snapshot as of the last look instead of its publication, for the clock guard:
    to it, idle hours must not look like a jump of the clock.
    """
    return msgspec.structs.replace(snapshot, as_of=rfc3339(last_pass_ms(data, snapshot)))


def last_retention(data: DataDirectory, snapshot: Snapshot) -> Retention:
    """The last retention run: what the snapshot records, at the time of the last run
    that found the same.
    """
    run, mark_ms = snapshot.retention, read_mark(data.last_pass)
    if mark_ms is None or mark_ms <= epoch_ms(run.at):
        return run
    at = rfc3339(mark_ms)
    if run.at == EMPTY_TIME or not (run.skipped or run.on_hold):
        return msgspec.structs.replace(run, at=at, succeeded_at=at, segments=0, archive_days=0, counter_days=0)
    return msgspec.structs.replace(run, at=at)


def same_finding(one: Retention, other: Retention) -> bool:
    """Whether two runs found the same: nothing that is said about them would change."""
    return _finding(one) == _finding(other)


def _finding(run: Retention) -> tuple[object, ...]:
    return run.skipped, run.clock_suspect_since, run.on_hold, run.over_limit
