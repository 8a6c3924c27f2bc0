"""Group commit: one thread, one bounded queue, one write and one sync for everything
that arrived while the last one ran (P1).

Requests hand over finished lines and await a future. The event loop gives the thread
one group at a time: what has gathered when the last one is done, so groups grow as
large as the disk is slow. The thread commits, seals by size, by age and when asked, and
opens a new segment before the queue goes on.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

from ingest.wal.active_segment import FULL, ActiveSegment, CommitFailed, SegmentMoved, SegmentSuspect
from ingest.wal.displaced_segment import TakenSegments
from shared.disk.control_files import Watch
from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.log import Log
from shared.segments.recovery import Recovered, next_sequence, recover, temp_segment_files
from shared.settings import Settings
from shared.worker_stats import WorkerStats

POLL_S = 0.2
REOPEN_S = 1.0
GROUP_MAX_BYTES = 8 << 20
TAKEN_MAX = 5


class Unavailable(TemporaryFailure):
    """The lines were not stored: busy, stopping, or the log cannot be written. The
    client may try again.
    """

    code = "unavailable"


class Busy(Unavailable):
    """The queue is full."""

    code = "busy"


class Stopping(Unavailable):
    """The worker is shutting down."""

    code = "stopping"


class DiskFull(Unavailable):
    """There is no space for the lines."""

    code = "disk_full"


class _Waiting(NamedTuple):
    blob: bytes
    lines: int
    done: asyncio.Future[None]


class _Group(NamedTuple):
    """What one commit makes durable, and who waits for it."""

    members: list[_Waiting]
    blob: bytes
    lines: int


class GroupCommitWriter:
    """The log of one writer. `append` and `close` belong to the event loop, everything
    about the disk to the thread.

    `on_fatal` is called from the thread when the segment is suspect: the process should
    end and be started anew.
    """

    def __init__(
        self,
        data: DataDirectory,
        writer: str,
        settings: Settings,
        log: Log,
        on_fatal: Callable[[], None] = lambda: None,
        stats: WorkerStats | None = None,
    ) -> None:
        self._data = data
        self._writer = writer
        self._settings = settings
        self._log = log
        self._on_fatal = on_fatal
        self._stats = stats or WorkerStats()
        self._loop = asyncio.get_running_loop()
        # Of the event loop:
        self._waiting: list[_Waiting] = []
        self._bytes = 0  # waiting and in flight
        self._requests = 0  # likewise
        self._in_flight = False
        self._handed_at = 0.0
        self._idle = asyncio.Event()
        self._stopping = False
        # Between the two; None asks the thread to seal and end:
        self._handed: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        # Of the thread:
        self._seal_requests = Watch(data.seal_request)
        self._seals_asked = 0  # counted by whoever asks; the thread remembers up to where it has looked
        self._seals_seen = 0
        self._active: ActiveSegment | None = None
        self._taken = TakenSegments(log, self._stats)
        self._sequence = 0
        self._seal_at = float("inf")
        self._reopen_at = 0.0
        self._gone_at = 0.0
        self._failed_at = float("-inf")
        self._open_segment()  # before the first request: an orphan is recovered, and a directory in use is refused
        remove(temp_segment_files(data, writer))
        self._thread = threading.Thread(target=self._run, name=f"writer-{writer}", daemon=True)
        self._thread.start()

    def append(self, blob: bytes, lines: int) -> asyncio.Future[None]:
        """Queue so many finished log lines. Raises Unavailable when they may not wait.

        The future is done when they are durable, or fails with Unavailable.

        A caller that is cancelled cancels its future only: the write goes on.
        """
        if self._stopping:
            raise Stopping("the server is shutting down")
        if self.is_full(len(blob)):
            raise Busy("more is waiting for the disk than may wait")
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(_Waiting(blob, lines, done))
        self._bytes += len(blob)
        self._requests += 1
        if not self._in_flight:
            self._in_flight = True
            self._handed_at = time.monotonic()
            self._loop.call_soon(self._hand_over)  # soon, so that requests of the same moment go together
        return done

    def is_full(self, size: int = 0) -> bool:
        """Whether `size` more bytes may not wait for the disk."""
        settings = self._settings
        return self._bytes + size > settings.queue_max_bytes or self._requests >= settings.queue_max_requests

    @property
    def waiting(self) -> tuple[int, int]:
        """Requests and bytes that wait for the disk."""
        return self._requests, self._bytes

    @property
    def stalled_s(self) -> float:
        """For how long the disk has been at the group under way; 0 when there is
        none.
        """
        return time.monotonic() - self._handed_at if self._in_flight else 0.0

    @property
    def failed_s(self) -> float:
        """How long ago a group could not be stored; infinite when the last one was."""
        return time.monotonic() - self._failed_at

    def holds_segment(self) -> bool:
        """Whether there is an open segment, locked by this writer, under its name."""
        active = self._active
        if active is None:
            return time.monotonic() < self._gone_at + REOPEN_S  # it is being sealed, and the next one is opened
        return active.is_ours() or self._active is not active

    def seal_soon(self) -> None:
        """Have the open segment sealed without waiting for its size or its age. For the
        event loop, and returns at once.
        """
        self._seals_asked += 1

    async def close(self) -> None:
        """Commit what is queued, seal, end the thread. New appends are refused from now
        on.
        """
        self._stopping = True
        while self._in_flight:
            self._idle.clear()
            await self._idle.wait()
        self._handed.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        """Give the thread what waits, up to one group's size."""
        waiting = self._waiting
        count = len(waiting) if self._bytes <= GROUP_MAX_BYTES else _fitting(waiting)
        group, self._waiting = waiting[:count], waiting[count:]
        self._handed_at = time.monotonic()
        self._handed.put(_Group(group, b"".join([w.blob for w in group]), sum([w.lines for w in group])))

    def _finish(self, members: list[_Waiting], error: Unavailable | None) -> None:
        """On the event loop: tell those who wait, then hand over what has gathered
        meanwhile.
        """
        for blob, _, done in members:
            self._bytes -= len(blob)
            self._requests -= 1
            if done.done():  # the client went away; its lines were stored all the same
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        if self._waiting:
            self._loop.call_soon(self._hand_over)  # soon: what this turn of the loop still brings goes along
        else:
            self._in_flight = False
            self._idle.set()

    def _refuse_all(self, members: list[_Waiting], error: Unavailable) -> None:
        """On the event loop, after the thread has ended for good: neither its last
        group nor what waits is stored.
        """
        self._stopping = True
        waiting, self._waiting = self._waiting, []
        while not self._handed.empty():  # handed over after the thread had answered its last group, and before this
            group = self._handed.get()
            waiting += group.members if group else []
        self._finish(members + waiting, error)

    def _run(self) -> None:
        while True:
            group: _Group | None = None
            unanswered: list[_Waiting] = []
            stop = False
            try:
                group = self._handed.get(timeout=POLL_S)
                stop = group is None
            except queue.Empty:
                pass
            try:
                if group is not None:
                    unanswered = group.members
                    self._commit(group)
                    unanswered = []
                if stop or self._seal_is_due():
                    self._seal(reopen=not stop)
                elif group is None:
                    self._look_after_segment()
            except Exception as error:  # noqa: BLE001  a suspect segment or a defect: this thread is of no use any longer
                self._fail_for_good(unanswered, error)
                return
            if stop:
                self._taken.give_up()
                return

    def _commit(self, group: _Group) -> None:
        error: Unavailable | None = None
        started = time.perf_counter()
        try:
            self._commit_blob(group.blob, group.lines)
        except SegmentSuspect:
            raise
        except OSError as failure:
            self._log.error("commit_failed", writer=self._writer, lines=group.lines, reason=str(failure))
            self._failed_at = time.monotonic()
            self._stats.commit_failures += 1
            error = _for_client(failure)
        else:
            self._failed_at = float("-inf")
            self._measure(group, time.perf_counter() - started)
        self._loop.call_soon_threadsafe(self._finish, group.members, error)

    def _measure(self, group: _Group, seconds: float) -> None:
        stats = self._stats
        stats.commit_s.observe(seconds)
        stats.fsync_s.observe(self._active.synced_s if self._active else 0.0)
        stats.group_events.observe(group.lines)
        stats.log_bytes += len(group.blob)

    def _commit_blob(self, blob: bytes, lines: int) -> None:
        for _ in range(TAKEN_MAX):
            if self._is_committed(blob, lines):
                break
        else:
            raise CommitFailed(f"{self._data.active(self._writer)} was taken away {TAKEN_MAX} times in a row")
        if self._active is not None and self._active.lines == lines:
            self._seal_at = time.monotonic() + self._settings.segment_max_age

    def _is_committed(self, blob: bytes, lines: int) -> bool:
        """Commit to the open segment, or to a new one. False when somebody took it: the
        group goes into another.
        """
        try:
            active = self._active or self._open_segment()
        except FileExistsError:
            return False  # made by somebody in place of the one that they took: it is looked into first
        try:
            active.commit(blob, lines)
        except SegmentMoved as error:
            return self._let_go(active, error, blob, lines)
        except CommitFailed as error:
            if error.full:
                self._seal(reopen=False)  # what is full may become half-written: go on in a new segment only
            raise
        return True

    def _seal_is_due(self) -> bool:
        # Look at the request even when nothing could be sealed, so that an old one does
        # not seal a later segment.
        seen, self._seals_seen = self._seals_seen, self._seals_asked
        requested = self._seal_requests.requested() or self._seals_seen != seen
        active = self._active
        if active is None or not active.lines:
            return False
        return requested or active.bytes >= self._settings.segment_max_bytes or time.monotonic() >= self._seal_at

    def _seal(self, *, reopen: bool) -> None:
        self._gone_at = time.monotonic()
        active, self._active = self._active, None
        if active is None:
            return
        try:
            name = active.seal()
            if name is not None:
                self._sequence += 1
                self._stats.segments_sealed += 1
                self._log.info("segment_sealed", segment=name.file, lines=active.lines, bytes=active.bytes)
            if reopen:
                with suppress(FileExistsError):  # somebody made it: the next look at it looks into it first
                    self._open_segment()
        except SegmentMoved as error:
            self._let_go(active, error)
        except OSError as error:
            # The segment stays under its active name with a free lock: opening the next
            # one recovers it first.
            self._sequence = 0
            self._log.error("segment_not_sealed", writer=self._writer, reason=str(error))

    def _open_segment(self) -> ActiveSegment:
        waited = self._taken.adopt_what_waits()
        self._sequence = waited.sequence + 1 if waited else self._sequence
        recovered = recover(self._data, self._writer)
        if recovered is not None:
            self._sequence = 0
            log_recovered(self._log, recovered)
        self._sequence = self._sequence or next_sequence(self._data, self._writer)
        self._active = ActiveSegment(self._data, self._writer, self._sequence, self._settings.durability)
        self._seal_at = float("inf")
        return self._active

    def _look_after_segment(self) -> None:
        """Nothing is to be written: see that the segment is still there, or try to make
        one, before the next event needs it.
        """
        if self._active is not None:
            try:
                self._active.look()
            except SegmentMoved as error:
                self._let_go(self._active, error)
            except OSError:
                return  # whoever has an event to write will hear of it
            return
        if time.monotonic() < self._reopen_at:
            return
        self._reopen_at = time.monotonic() + REOPEN_S
        try:
            self._open_segment()
        except OSError:
            return  # the failure was logged; the next commit, or this in a second, tries again

    def _let_go(self, active: ActiveSegment, moved: SegmentMoved, blob: bytes = b"", lines: int = 0) -> bool:
        """Somebody took the segment away. Returns whether the group that was written to
        it is sealed with what it holds.
        """
        self._active = None
        adopted = self._taken.adopt(active, moved, blob, lines)
        self._sequence = adopted.sealed.sequence + 1 if adopted.sealed else 0
        return adopted.holds_group

    def _fail_for_good(self, members: list[_Waiting], error: Exception) -> None:
        if self._active is not None:
            name = self._active.seal_as_suspect()
            self._log.error("segment_suspect", segment=name.file if name else None, reason=str(error))
        refusal = Unavailable("the disk failed while storing the events")
        self._on_fatal()
        self._loop.call_soon_threadsafe(self._refuse_all, members, refusal)


def _fitting(waiting: list[_Waiting]) -> int:
    """How many fit into a group, at least one."""
    sizes = accumulate(len(one.blob) for one in waiting)
    return max(1, sum(size <= GROUP_MAX_BYTES for size in sizes))


def log_recovered(log: Log, recovered: Recovered) -> None:
    """Say what a recovery kept and what it could not."""
    log.info(
        "segment_recovered",
        writer=recovered.writer,
        segment=recovered.sealed.file if recovered.sealed else None,
        lines=recovered.lines,
        quarantined=recovered.quarantined,
    )


def _for_client(error: OSError) -> Unavailable:
    full = error.full if isinstance(error, CommitFailed) else error.errno in FULL
    if full:
        return DiskFull("there is no space left for events")
    return Unavailable("the event log cannot be written")
