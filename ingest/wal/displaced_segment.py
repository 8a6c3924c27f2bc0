"""What becomes of an active segment that somebody took from its writer: renamed,
replaced, deleted, truncated.

The writer still has the file open. What it holds is sealed as a copy, so nothing that
was acknowledged is lost with a name. A copy, and not the old name given back: it works
for a deleted file as well, and whoever renamed it finds what they expect.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import NamedTuple

from ingest.wal.active_segment import FULL, ActiveSegment, CommitFailed, SegmentMoved, SegmentTruncated
from shared.disk.layout import SegmentName
from shared.log import Log
from shared.worker_stats import WorkerStats

LET_IT_SEAL = "leave active segments alone, and have logrotate run `foldlog rotate`: logrotate/README.md says how"
NO_COPYTRUNCATE = (
    "take copytruncate out of logrotate's configuration; a copy that lies in log/ is folded, from elsewhere nothing is: "
    "logrotate/README.md"
)


class Adopted(NamedTuple):
    """The segment that was made of it, if one was, and whether the group under way is
    in that.
    """

    sealed: SegmentName | None = None
    holds_group: bool = False


class TakenSegments:
    """Those of one writer: at most one waits to be adopted, for nothing is written to
    another before it is.
    """

    def __init__(self, log: Log, stats: WorkerStats) -> None:
        self._log = log
        self._stats = stats
        self._waits: tuple[ActiveSegment, SegmentMoved] | None = None
        self._lacks_room = False

    def adopt(self, active: ActiveSegment, moved: SegmentMoved, blob: bytes = b"", lines: int = 0) -> Adopted:
        """Seal what the segment holds, with the group that was written to it, and say
        so. It is let go of, or waits.
        """
        lines = lines if moved.written else 0
        try:
            name = active.adopt(blob if moved.written else b"", lines)
        except SegmentTruncated as truncated:
            active.abandon()
            self._stats.segments_truncated += 1
            lost = {"lines": active.lines, "bytes": active.bytes}
            self._log.error(
                "segment_truncated", writer=active.writer, **lost, reason=str(truncated), action=NO_COPYTRUNCATE
            )
            return Adopted()
        except OSError as error:
            self._keep_for_later(active, moved, error)
            return Adopted()
        if name is None:
            self._log.warning(
                "segment_displaced",
                outcome="empty",
                writer=active.writer,
                lines=0,
                reason=str(moved),
                action=LET_IT_SEAL,
            )
            return Adopted()
        self._stats.segments_displaced += 1
        self._log.warning(
            "segment_displaced",
            outcome="recovered",
            segment=name.file,
            lines=active.lines + lines,
            reason=str(moved),
            action=LET_IT_SEAL,
        )
        return Adopted(name, moved.written)

    def adopt_what_waits(self) -> SegmentName | None:
        """Try again. Raises CommitFailed while it has to wait on: what it holds must
        not be forgotten over newer events.
        """
        if self._waits is None:
            return None
        (active, moved), self._waits = self._waits, None
        adopted = self.adopt(active, SegmentMoved(str(moved), written=False))
        if self._waits is not None:
            raise CommitFailed(f"what was in {active.path} could not be sealed yet", full=self._lacks_room)
        return adopted.sealed

    def give_up(self) -> None:
        """The writer ends: one more try. What it does not seal is left to whoever finds
        the file, if it has a name.
        """
        with suppress(OSError):
            self.adopt_what_waits()

    def _keep_for_later(self, active: ActiveSegment, moved: SegmentMoved, error: OSError) -> None:
        """The descriptor may be all that leads to the file. What cannot be read now
        will not be later, and is let go of.
        """
        if error.errno == errno.EIO:
            active.abandon()
        else:
            self._waits = (active, moved)
            self._lacks_room = error.errno in FULL
        self._log.error(
            "segment_displaced", outcome="pending", writer=active.writer, lines=active.lines, reason=str(error)
        )
