"""`foldlog compact --merge DAY`: the day merge of one day, now, and its parts in
today's format.

The merge that passes make waits until a day got no event for 24 hours, and leaves a day
of an earlier format as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from msgspec.structs import replace

from compactor.context import PassContext, pass_context
from compactor.generations.commit import commit
from compactor.generations.day_merge import CLUSTERED_BYTES_MAX, cluster, count_day, parts_to_cluster
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.generations.visit_freshness import with_merged_part
from compactor.lock import LOCK_TIMEOUT_S, CompactorLock, compactor_lock
from compactor.next_generation import next_generation
from compactor.repair.directory_check import check_directory
from compactor.summary.summarize import with_summary
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.snapshot import Day, Part, Snapshot
from shared.log import Log
from shared.settings import Settings


class NothingToMerge(UsageError):
    """The snapshot has no archive of `day`."""

    def __init__(self, day: date) -> None:
        super().__init__(day)
        self.day = day

    def __str__(self) -> str:
        return f"{self.day} has no archive: nothing was folded for it, or it has expired."


def merge_now(data: DataDirectory, settings: Settings, log: Log, day: date, clock: Callable[[], int]) -> Day:
    """Publish the steps of the day merge of a UTC day, a generation each, and return
    the day. Events of it that come later are added as to any day.

    Raises NothingToMerge, CompactorBusy, CommitLost, PartDamaged and DuckDB's errors.
    """
    with compactor_lock(data, LOCK_TIMEOUT_S) as lock:
        check_directory(data, log, lock)
        before = load_or_restore_snapshot(data, log, lock)
        if day not in before.days or not before.days[day].archive:
            raise NothingToMerge(day)
        while _parts_to_write(before.days[day]) or not before.days[day].merged:
            before = _publish_step(data, settings, log, lock, before, day, clock())
        kept = before.days[day]
        size = sum(part.bytes for part in (*kept.archive, *kept.counters))
        log.info("day_merge_finished", day=str(day), parts=len(kept.archive), bytes=size, capped=list(kept.capped))
        return kept


def _publish_step(
    data: DataDirectory, settings: Settings, log: Log, lock: CompactorLock, before: Snapshot, day: date, now_ms: int
) -> Snapshot:
    with pass_context(data, settings, log, lock, now_ms) as context:
        after = next_generation(context, before)
        changed = with_merged_part(before, day, _step(context, before, day))
        after = replace(after, days={**after.days, **changed})
        after = with_summary(context, before, after)
        commit(data, before, after, lock)
    prune_history(data, after)
    return after


def _step(context: PassContext, before: Snapshot, day: date) -> Day:
    if parts := _parts_to_write(before.days[day]):
        return cluster(context, day, before.days[day], parts, before.generation + 1)
    return count_day(context, before, day, before.generation + 1)


def _parts_to_write(kept: Day) -> Sequence[Part]:
    """The next archive parts to cluster: as the day merge chooses them, then each of an
    earlier format that is not too large.
    """
    earlier = [part for part in kept.archive if part.version == 1 and part.bytes <= CLUSTERED_BYTES_MAX]
    return parts_to_cluster(kept.archive) or earlier[:1]
