"""Folding sealed segments again, from nothing, into a directory of its own. For
`foldlog rebuild` only.

It is the ordinary pass that does it, so what comes out is what a pass would have
counted, in the same bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from compactor.context import PassContext
from compactor.lock import compactor_lock
from compactor.run_pass import run_pass
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory, SegmentName
from shared.generations.snapshot import Snapshot
from shared.log import Log
from shared.segments.sealed import sealed_segments


def refold(context: PassContext, into: DataDirectory, is_wanted: Callable[[SegmentName], bool]) -> Snapshot:
    """Fold the sealed segments that are wanted, by ordinary passes, into another
    directory.
    """
    make_data_directory(into)
    for segment in sealed_segments(context.data):
        if is_wanted(segment.name):
            (into.log / segment.path.name).symlink_to(segment.path.absolute())
            if segment.checksum.exists():
                (into.log / segment.checksum.name).symlink_to(segment.checksum.absolute())
    for_ever = replace(
        context.settings, log_retention_days=36_500, archive_retention_days=36_500, counters_retention_days=0
    )
    for_ever = replace(for_ever, log_max_bytes=0, archive_max_bytes=0, counters_max_bytes=0)
    with compactor_lock(into) as lock:
        while True:
            done = run_pass(into, for_ever, _Quiet(context.log), lock, context.now_ms)
            if not done.more:
                return done.snapshot


class _Quiet:
    """The passes of a refold are not the service's passes: only their warnings are
    worth a line.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def info(self, event: str, **fields: object) -> None:
        """Nothing."""

    debug = info

    def warning(self, event: str, **fields: object) -> None:
        self._log.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self._log.error(event, **fields)
