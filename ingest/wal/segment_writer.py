"""Group commit, the thread half: open a segment, commit groups to it, seal it, replace
one that was displaced (P1, P3). With FOLDLOG_DURABILITY=store a group is then also
committed to the store, before it is acknowledged.

Everything here belongs to the writer's thread, except what says otherwise. After a
failed sync the segment is suspect: it is neither synced again nor appended to, and the
process ends.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Literal, NamedTuple

from ingest.wal.active_segment import FULL, ActiveSegment, CommitFailed, SegmentDisplaced, SegmentSuspect
from ingest.wal.displaced_segment import DisplacedSegments
from ingest.wal.store_log import StoreLog, TakenOver
from ingest.wal.unavailable import DiskFull, Unavailable
from shared.disk.control_files import Watch
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.log import Log
from shared.segments.recovery import Recovered, next_sequence, recover, temp_segment_files
from shared.settings import Settings
from shared.stores.ledger import StoreUnavailable
from shared.stores.log_segments import restore_segments
from shared.worker_stats import WorkerStats

REOPEN_S = 1.0
DISPLACED_RETRIES = 5
# A store that is down fails each commit; it is logged this often.
LOG_AGAIN_S = 5.0


class Place(NamedTuple):
    """Where a group stands: the number of its segment, and its first byte there."""

    sequence: int
    first_byte: int


class SealSchedule:
    """When the open segment is sealed: by size, by age, or on request."""

    def __init__(self, data: DataDirectory, settings: Settings) -> None:
        self._max_bytes = settings.segment_max_bytes
        self._max_age_s = settings.segment_max_age
        self._request_file = Watch(data.seal_request)
        self._requested = 0  # counted by other threads; this one remembers how many it has seen
        self._seen = 0
        self.due_at = float("inf")

    def request(self) -> None:
        """Ask for a seal. From the event loop."""
        self._requested += 1

    def opened(self) -> None:
        """A segment was opened: its age counts from its first line."""
        self.due_at = float("inf")

    def got_first_line(self) -> None:
        self.due_at = time.monotonic() + self._max_age_s

    def is_due(self, active: ActiveSegment | None) -> bool:
        """Whether the segment is to be sealed now. A request counts once, even when
        there is nothing to seal: it must not seal a later segment.
        """
        seen, self._seen = self._seen, self._requested
        requested = self._request_file.requested() or self._seen != seen
        if active is None or not active.lines:
            return False
        return requested or active.bytes >= self._max_bytes or time.monotonic() >= self.due_at


class SegmentWriter:
    """The segments of one writer, one after the other."""

    def __init__(self, data: DataDirectory, writer: str, settings: Settings, log: Log, stats: WorkerStats) -> None:
        """Open the first segment, so that no request comes before the recovery of an
        abandoned one. Raises WriterAlive or OSError. Without its store it opens one
        later.
        """
        self._data = data
        self._writer = writer
        self._durability: Literal["fsync", "os"] = "os" if settings.durability == "os" else "fsync"
        self._log = log
        self._stats = stats
        self.seals = SealSchedule(data, settings)
        self.active: ActiveSegment | None = None
        self._displaced = DisplacedSegments(log, stats, self._renumbered)
        self.store_log = StoreLog(data, writer, settings, log) if settings.durability == "store" else None
        self._sequence = 0  # of the open segment; 0: to be read from the directory
        self._reopen_at = 0.0
        self._sealing_at = 0.0
        self.failed_at = float("-inf")  # when a commit failed, if the last one did
        self._open_first_segment()
        remove(temp_segment_files(data, writer))

    def has_segment(self) -> bool:
        """Whether there is an open segment, locked by this writer, under its name. From
        any thread.
        """
        active = self.active
        if active is None:
            return time.monotonic() < self._sealing_at + REOPEN_S  # between a seal and the next segment
        return active.is_ours() or self.active is not active

    def commit(self, blob: bytes, lines: int) -> Unavailable | None:
        """Make whole lines durable. Returns why they are not stored, or None once they
        are on disk, and in the store if that is asked for. Raises SegmentSuspect when a
        sync failed: call fail().
        """
        started = time.perf_counter()
        try:
            self._commit(blob, lines)
        except SegmentSuspect:
            raise
        except (OSError, StoreUnavailable, TakenOver) as error:
            return self._failed(error, lines)
        self.failed_at = float("-inf")
        self._measure(len(blob), lines, time.perf_counter() - started)
        return None

    def maintain(self) -> None:
        """Between commits: seal the segment if that is due, else check that it is still
        in place.
        """
        if not self.seal_if_due():
            self._check_or_reopen()

    def seal_if_due(self) -> bool:
        """Seal and open the next segment, by size, by age or on request."""
        if not self.seals.is_due(self.active):
            return False
        self._seal(reopen=True)
        return True

    def close(self) -> None:
        """Seal, and open no other segment."""
        self._seal(reopen=False)
        self._displaced.close()
        if self.store_log is not None:
            self.store_log.close()

    def fail(self, error: Exception) -> None:
        """The last call of this thread, after SegmentSuspect or a defect: seal the
        segment without a sync.
        """
        if self.active is not None:
            name = self.active.seal_as_suspect()
            self._log.error("segment_suspect", segment=name.file if name else None, reason=str(error))

    def _commit(self, blob: bytes, lines: int) -> None:
        if self.store_log is None:
            self._commit_to_some_segment(blob, lines)
            return
        self.store_log.require()  # before the segment grows by lines that are never acknowledged
        sequence, first_byte = self._commit_to_some_segment(blob, lines)
        try:
            self.store_log.finish(sequence, first_byte, blob)
        except StoreUnavailable:
            if self.store_log.has_much_unsent:
                self._seal(reopen=False)
            raise

    def _failed(self, error: Exception, lines: int) -> Unavailable:
        is_news = not isinstance(error, StoreUnavailable) or time.monotonic() - self.failed_at > LOG_AGAIN_S
        self.failed_at = time.monotonic()
        self._stats.commit_failures += 1
        if isinstance(error, TakenOver):
            return error  # logged when it was found
        if is_news:
            self._log.error("commit_failed", writer=self._writer, lines=lines, reason=str(error))
        return _unavailable(error)

    def _measure(self, size: int, lines: int, seconds: float) -> None:
        stats = self._stats
        stats.commit_s.observe(seconds)
        stats.fsync_s.observe(self.active.synced_s if self.active else 0.0)
        stats.group_events.observe(lines)
        stats.log_bytes += size

    def _commit_to_some_segment(self, blob: bytes, lines: int) -> Place:
        for _ in range(DISPLACED_RETRIES):
            if place := self._try_to_commit(blob, lines):
                break
        else:
            raise CommitFailed(f"{self._data.active(self._writer)} was displaced {DISPLACED_RETRIES} times in a row")
        if self.active is not None and self.active.lines == lines:
            self.seals.got_first_line()
        return place

    def _try_to_commit(self, blob: bytes, lines: int) -> Place | None:
        """Commit to the open segment, or to a new one. None when it was displaced: the
        group is written to the next one.
        """
        try:
            active = self.active or self._open_segment()
        except FileExistsError:
            return None  # another process created a file under its name: the next try recovers that first
        place = Place(active.sequence, active.bytes)
        try:
            self._commit_to(active, place, blob, lines)
        except SegmentDisplaced as displaced:
            return self._handle_displaced(active, displaced, blob, lines)
        except CommitFailed as error:
            if error.full:
                self._seal(reopen=False)  # a write to a full disk may be partial: continue in a new segment only
            raise
        return place

    def _commit_to(self, active: ActiveSegment, place: Place, blob: bytes, lines: int) -> None:
        store_log = self.store_log
        if store_log is None:
            active.commit(blob, lines)
        else:  # the store commits while the disk does
            active.commit(blob, lines, lambda: store_log.begin(*place, blob))

    def _seal(self, *, reopen: bool) -> None:
        self._sealing_at = time.monotonic()
        active, self.active = self.active, None
        if active is None:
            return
        try:
            name = active.seal()
            if name is not None:
                self._sequence += 1
                self._stats.segments_sealed += 1
                self._log.info("segment_sealed", segment=name.file, lines=active.lines, bytes=active.bytes)
            if reopen:
                with suppress(FileExistsError):  # another process created it: the next commit or check recovers it
                    self._open_segment()
        except SegmentDisplaced as displaced:
            self._handle_displaced(active, displaced)
        except OSError as error:
            # The segment keeps its active name, with a free lock: opening the next one
            # recovers it first.
            self._sequence = 0
            self._log.error("segment_not_sealed", writer=self._writer, reason=str(error))

    def _open_segment(self) -> ActiveSegment:
        copied = self._displaced.retry_pending()
        self._sequence = copied.sequence + 1 if copied else self._sequence
        recovered = recover(self._data, self._writer)
        if recovered is not None:
            self._sequence = 0
            _log_recovered(self._log, recovered)
        self._sequence = self._sequence or self._next_sequence()
        self.active = ActiveSegment(self._data, self._writer, self._sequence, self._durability)
        self.seals.opened()
        return self.active

    def _open_first_segment(self) -> None:
        try:
            self._open_segment()
        except (StoreUnavailable, TakenOver) as error:
            self._log.warning("segment_not_opened", writer=self._writer, reason=str(error))

    def _next_sequence(self) -> int:
        """Lines of the store that the log does not have, because its segment was
        truncated, come first.
        """
        found = next_sequence(self._data, self._writer)
        if self.store_log is None:
            return found
        for name, lines in restore_segments(self._data, self.store_log.rows_from(found)):
            self._log.warning("segment_restored", segment=name.file, lines=lines)
            found = name.sequence + 1
        return found

    def _check_or_reopen(self) -> None:
        """Check the segment, or try to open one, before the next event needs it."""
        if self.active is not None:
            try:
                self.active.check_unchanged()
            except SegmentDisplaced as displaced:
                self._handle_displaced(self.active, displaced)
            except OSError:
                return  # the next commit reports it
            return
        if time.monotonic() < self._reopen_at:
            return
        self._reopen_at = time.monotonic() + REOPEN_S
        try:
            self._open_segment()
        except (OSError, TemporaryFailure):
            return  # logged where it failed; the next commit or check tries again

    def _handle_displaced(
        self, active: ActiveSegment, displaced: SegmentDisplaced, blob: bytes = b"", lines: int = 0
    ) -> Place | None:
        """Recover the segment. Returns where the group is in the sealed copy, if it was
        written.
        """
        self.active = None
        copy = self._displaced.recover(active, displaced, blob, lines)
        self._sequence = copy.segment.sequence + 1 if copy.segment else 0
        return Place(copy.segment.sequence, active.bytes) if copy.segment and copy.has_group else None

    def _renumbered(self, old: int, new: int) -> None:
        if self.store_log is not None:
            self.store_log.renumber(old, new)


def _log_recovered(log: Log, recovered: Recovered) -> None:
    """Report which lines a recovery kept, and how many it could not."""
    log.info(
        "segment_recovered",
        writer=recovered.writer,
        segment=recovered.sealed.file if recovered.sealed else None,
        lines=recovered.lines,
        quarantined=recovered.quarantined,
    )


def _unavailable(error: Exception) -> Unavailable:
    if isinstance(error, StoreUnavailable):
        return Unavailable("the store cannot be written")
    is_full = error.full if isinstance(error, CommitFailed) else isinstance(error, OSError) and error.errno in FULL
    if is_full:
        return DiskFull("there is no space left for events")
    return Unavailable("the event log cannot be written")
