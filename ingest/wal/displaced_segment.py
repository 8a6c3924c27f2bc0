"""Recovery of an active segment that another program displaced: renamed, replaced,
deleted or truncated.

The writer still has the file open, so it seals a copy of its lines: nothing that was
acknowledged is lost. A copy works for a deleted file as well, and leaves the renamed
one to the program that renamed it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from ingest.wal.active_segment import FULL, ActiveSegment, CommitFailed, SegmentDisplaced, SegmentTruncated
from shared.disk.layout import SegmentName
from shared.log import Log
from shared.segments.rotation_advice import LET_WRITERS_SEAL
from shared.worker_stats import WorkerStats

NO_COPYTRUNCATE = (
    "take copytruncate out of logrotate's configuration; a copy in log/ is folded, a copy elsewhere is not: "
    "logrotate/README.md"
)


class SealedCopy(NamedTuple):
    """The segment that was sealed as a copy, if one was, and whether the group that was
    being committed is in it.
    """

    segment: SegmentName | None = None
    has_group: bool = False


class DisplacedSegments:
    """The displaced segments of one writer. At most one is pending: the writer opens no
    new segment until it is recovered.
    """

    def __init__(self, log: Log, stats: WorkerStats, renumbered: Callable[[int, int], None]) -> None:
        """`renumbered` is called with the number of a segment and that of its copy."""
        self._log = log
        self._renumbered = renumbered
        self._stats = stats
        self._pending: tuple[ActiveSegment, SegmentDisplaced] | None = None
        self._disk_full = False

    def recover(
        self, active: ActiveSegment, displaced: SegmentDisplaced, blob: bytes = b"", lines: int = 0
    ) -> SealedCopy:
        """Seal the segment's lines, and the group if it was written, and log that. The
        segment is closed, or pending.
        """
        lines = lines if displaced.written else 0
        try:
            name = active.seal_copy(blob if displaced.written else b"", lines)
        except SegmentTruncated as truncated:
            active.close()
            self._stats.segments_truncated += 1
            lost = {"lines": active.lines, "bytes": active.bytes}
            self._log.error(
                "segment_truncated", writer=active.writer, **lost, reason=str(truncated), action=NO_COPYTRUNCATE
            )
            return SealedCopy()
        except OSError as error:
            self._keep_pending(active, displaced, error)
            return SealedCopy()
        if name is None:
            self._log.warning(
                "segment_displaced",
                outcome="empty",
                writer=active.writer,
                lines=0,
                reason=str(displaced),
                action=LET_WRITERS_SEAL,
            )
            return SealedCopy()
        self._renumbered(active.begun_as, name.sequence)
        self._stats.segments_displaced += 1
        self._log.warning(
            "segment_displaced",
            outcome="recovered",
            segment=name.file,
            lines=active.lines + lines,
            reason=str(displaced),
            action=LET_WRITERS_SEAL,
        )
        return SealedCopy(name, displaced.written)

    def retry_pending(self) -> SegmentName | None:
        """Recover the pending segment, if there is one. Raises CommitFailed when that
        fails again: its acknowledged lines come before newer ones.
        """
        if self._pending is None:
            return None
        (active, displaced), self._pending = self._pending, None
        copy = self.recover(active, SegmentDisplaced(str(displaced), written=False))
        if self._pending is not None:
            raise CommitFailed(f"the lines of {active.path} could not be sealed yet", full=self._disk_full)
        return copy.segment

    def close(self) -> None:
        """The writer ends: try once more. If that fails the file stays as it is, for
        the compactor if it has a name in log/.
        """
        with suppress(OSError):
            self.retry_pending()

    def _keep_pending(self, active: ActiveSegment, displaced: SegmentDisplaced, error: OSError) -> None:
        """Keep the descriptor open, which may be the only way to the file. Close it if
        the disk cannot read it: a retry would not, either.
        """
        if error.errno == errno.EIO:
            active.close()
        else:
            self._pending = (active, displaced)
            self._disk_full = error.errno in FULL
        self._log.error(
            "segment_displaced", outcome="pending", writer=active.writer, lines=active.lines, reason=str(error)
        )
