"""Replay of the log: sealed segments are folded from nothing into a directory of their
own. For `foldlog rebuild` only.

The ordinary pass folds them, so the result is what passes would have counted, in the
same bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from compactor.context import PassContext
from compactor.fold_round import Round
from compactor.lock import compactor_lock
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory, SegmentName
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments
from shared.settings import Settings


def replay(context: PassContext, target: DataDirectory, is_included: Callable[[SegmentName], bool]) -> Snapshot:
    """Fold the included sealed segments into `target`, a new directory. Returns its
    snapshot.
    """
    make_data_directory(target)
    for segment in sealed_segments(context.data):
        if is_included(segment.name):
            (target.log / segment.path.name).symlink_to(segment.path.absolute())
            if segment.checksum.exists():
                (target.log / segment.checksum.name).symlink_to(segment.checksum.absolute())
    settings = _keeping_everything(context.settings)
    with compactor_lock(target) as lock:
        # What cannot be folded now is set aside in the replay, and stays as archived.
        work = Round(target, settings, _WarningsOnly(context.log), lock, tries_max=1, clock=lambda: context.now_ms)
        return work.run().snapshot


def _keeping_everything(settings: Settings) -> Settings:
    """The settings without retention: a replay deletes nothing."""
    return replace(
        settings,
        log_retention_days=36_500,
        archive_retention_days=36_500,
        counters_retention_days=0,
        log_max_bytes=0,
        archive_max_bytes=0,
        counters_max_bytes=0,
    )


class _WarningsOnly:
    """A log of warnings and errors: the passes of a replay are not the service's."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def info(self, event: str, **fields: object) -> None:
        """Log nothing."""

    debug = info

    def warning(self, event: str, **fields: object) -> None:
        self._log.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self._log.error(event, **fields)
