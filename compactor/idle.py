"""A pass that found nothing publishes nothing: it only leaves its mark."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from compactor.context import PassContext
from compactor.generations.day_merge import next_day
from compactor.generations.kept import KEPT_SNAPSHOTS
from compactor.retention.apply import plan_retention
from compactor.retention.plan import RetentionPlan, is_too_old
from shared.disk.file_identity import FileIdentity, file_identity
from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.generations.last_look import same_finding
from shared.generations.load import kept_generations
from shared.generations.snapshot import Snapshot, SnapshotDamaged, decode_snapshot
from shared.segments.sealed import Segment
from shared.settings import Settings


def finds_nothing(
    data: DataDirectory, before: Snapshot, sealed: Sequence[Segment], now_ms: int, settings: Settings
) -> bool:
    """Whether a pass without new segments has nothing to publish."""
    if next_day(before, (), now_ms):
        return False
    plan = plan_retention(data, before, before, sealed, now_ms, settings)
    if plan.deletes or plan.confirmed or not same_finding(plan.record(before.retention), before.retention):
        return False
    return not _waits_for_history(data, before, plan, sealed, now_ms, settings)


def changes_nothing(
    context: PassContext, before: Snapshot, after: Snapshot, plan: RetentionPlan, sealed: Sequence[Segment]
) -> bool:
    """The same of a pass that has tried to merge a day, or to delete one, in vain."""
    if (
        after.days != before.days
        or plan.deletes
        or plan.confirmed
        or not same_finding(after.retention, before.retention)
    ):
        return False
    return not _waits_for_history(context.data, before, plan, sealed, context.now_ms, context.settings)


def leave_mark(data: DataDirectory, now_ms: int) -> None:
    """The mark of a pass that ended, with its retention run."""
    set_mark(data.last_pass, now_ms)


def _waits_for_history(
    data: DataDirectory,
    before: Snapshot,
    plan: RetentionPlan,
    sealed: Sequence[Segment],
    now_ms: int,
    settings: Settings,
) -> bool:
    """Whether a kept snapshot is all that still needs what has expired: a segment that
    it has not folded, or a day that it still has. It is kept until three later ones are
    published, so an idle compactor publishes them.
    """
    if any(_has_expired_since(before, kept) for kept in _kept(data)):
        return True
    if plan.skipped or plan.log.on_hold:
        return False
    is_over = plan.log.undeletable_bytes > 0
    return any((is_over or is_too_old(each, now_ms, settings)) and before.has_folded(each.name) for each in sealed)


def _has_expired_since(current: Snapshot, kept: Snapshot) -> bool:
    return any(
        day not in current.days or bool(old.archive and not current.days[day].archive) for day, old in kept.days.items()
    )


def _kept(data: DataDirectory) -> list[Snapshot]:
    """The kept snapshots, which never change: each is read once by a process."""
    found = {number: _read(data.kept_snapshot(number)) for number in kept_generations(data)}
    return [snapshot for snapshot in found.values() if snapshot is not None]


def _read(path: Path) -> Snapshot | None:
    try:
        return _read_once(path, file_identity(path))
    except (OSError, SnapshotDamaged):
        return None  # the next pass that publishes quarantines it


@lru_cache(maxsize=KEPT_SNAPSHOTS + 1)
def _read_once(path: Path, _identity: FileIdentity) -> Snapshot:
    return decode_snapshot(path.read_bytes(), path)
