"""`foldlog retain`: a retention run on demand, with the code of the pass, or a preview
that changes nothing.

Its `--confirm` carries out the deletions that scheduled passes put on hold. A suspect
clock cannot be overruled (P9).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from compactor.context import pass_context
from compactor.generations.commit import commit
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.repair.directory_check import check_directory
from compactor.retention.apply import apply_retention, delete_expired, plan_retention, warn_of_kept_data
from compactor.retention.plan import RetentionPlan
from compactor.summary.summarize import with_summary
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.timestamps import rfc3339


def preview_retention(data: DataDirectory, settings: Settings, now_ms: int, *, confirmed: bool) -> RetentionPlan:
    """What `retain_now` would delete. Needs no lock and changes nothing."""
    before = load_snapshot(data)
    sealed = sealed_segments(data)
    return plan_retention(data, before, _next(before, now_ms), sealed, now_ms, settings, confirmed=confirmed)


def retain_now(
    data: DataDirectory, settings: Settings, log: Log, clock: Callable[[], int], *, confirmed: bool
) -> RetentionPlan:
    """Publish a generation without everything that is expired, then delete it. Returns
    what was deleted.

    With `confirmed` also the deletions on hold. Nothing is published while the clock is
    suspect, or before the first fold. `clock` is read once the lock is held, because a
    pass may have run meanwhile. Raises CompactorBusy, CommitLost and
    InconsistentDirectory.
    """
    with compactor_lock(data, LOCK_TIMEOUT_S) as lock:
        check_directory(data, log, lock)
        before = load_or_restore_snapshot(data, log, lock)
        now_ms = clock()
        after = _next(before, now_ms)
        plan = plan_retention(data, before, after, sealed_segments(data), now_ms, settings, confirmed=confirmed)
        if plan.skipped or not before.generation:
            return plan
        with pass_context(data, settings, log, lock, now_ms) as context:
            after = with_summary(context, before, apply_retention(context, after, plan))
            commit(data, before, after, lock)
        delete_expired(data, plan, log)
        prune_history(data, after)
        warn_of_kept_data(log, after.retention)
        return plan


def _next(before: Snapshot, now_ms: int) -> Snapshot:
    return msgspec.structs.replace(before, generation=before.generation + 1, as_of=rfc3339(now_ms))
