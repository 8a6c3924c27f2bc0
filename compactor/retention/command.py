"""`foldlog retain`: retention when a person asks for it, by the code of the pass; or
what it would take, and nothing changed.

It is how a person says yes to what the guard of a scheduled pass holds. A clock in
doubt cannot be overruled (P9).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from compactor.context import pass_context
from compactor.generations.commit import commit
from compactor.generations.history import load_or_restore_snapshot, prune_history
from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from compactor.repair.directory_check import begin
from compactor.retention.apply import log_retention, plan_retention, remove_expired, retain
from compactor.retention.plan import RetentionPlan
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from shared.timestamps import rfc3339


def plan_only(data: DataDirectory, settings: Settings, now_ms: int, *, is_confirmed: bool) -> RetentionPlan:
    """What `retain_now` would take. Needs no lock and changes nothing."""
    before = load_snapshot(data)
    sealed = sealed_segments(data)
    return plan_retention(data, before, _next(before, now_ms), sealed, now_ms, settings, is_confirmed=is_confirmed)


def retain_now(
    data: DataDirectory, settings: Settings, log: Log, clock: Callable[[], int], *, is_confirmed: bool
) -> RetentionPlan:
    """Publish a generation without what is past its retention, then delete it. Returns
    what was taken.

    With `is_confirmed` also what the guard would hold. Nothing is published while the
    clock is in doubt, or before the first fold. `clock` is asked once the lock is held:
    meanwhile a pass may have been. Raises CompactorBusy, CommitLost and CopyIncomplete.
    """
    with compactor_lock(data, LOCK_TIMEOUT_S) as lock:
        begin(data, log, lock)
        before = load_or_restore_snapshot(data, log, lock)
        now_ms = clock()
        after = _next(before, now_ms)
        plan = plan_retention(data, before, after, sealed_segments(data), now_ms, settings, is_confirmed=is_confirmed)
        if plan.skipped or not before.generation:
            return plan
        with pass_context(data, settings, log, lock, now_ms) as context:
            after = retain(context, after, plan)
            commit(data, before, after, lock)
        remove_expired(plan)
        prune_history(data, after)
        log_retention(log, after.retention)
        return plan


def _next(before: Snapshot, now_ms: int) -> Snapshot:
    return msgspec.structs.replace(before, generation=before.generation + 1, as_of=rfc3339(now_ms))
