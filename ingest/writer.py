"""Group commit: one thread, one bounded queue, one write and one sync for everything that arrived while the last one ran (P1).

Requests hand over finished lines and await a future; the thread commits them together and resolves the futures on the event
loop. It seals by size, by age and when asked, and opens a new segment before the queue goes on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ingest.active import FULL, ActiveSegment, CommitFailed, SegmentMoved, SegmentSuspect
from shared.layout import DataDirectory
from shared.recovery import Recovered, next_sequence, recover
from shared.requests import Watch
from shared.settings import Settings

POLL_S = 0.2
GROUP_MAX_BYTES = 8 << 20


class Unavailable(Exception):
    """The lines were not stored: busy, stopping, or the log cannot be written. The client may try again."""

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


class Log(Protocol):
    """Where the writer says what an operator should hear."""

    def info(self, event: str, **fields: object) -> object: ...

    def error(self, event: str, **fields: object) -> object: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    blob: bytes
    lines: int
    done: asyncio.Future[None]


class GroupCommitWriter:
    """The log of one writer. `append` is called on the event loop; everything else happens in its thread.

    `on_fatal` is called from the thread when the segment is suspect: the process should end and be started anew.
    """

    def __init__(
        self,
        data: DataDirectory,
        writer: str,
        settings: Settings,
        log: Log,
        on_fatal: Callable[[], None] = lambda: None,
    ) -> None:
        self._data = data
        self._writer = writer
        self._settings = settings
        self._log = log
        self._on_fatal = on_fatal
        self._seal_requests = Watch(data.seal_request)
        self._loop = asyncio.get_running_loop()
        self._change = threading.Condition()
        self._queue: list[_Waiting] = []
        self._queued_bytes = 0
        self._stopping = False
        self._active: ActiveSegment | None = None
        self._sequence = 0
        self._seal_at = float("inf")
        self._open_segment()  # before the first request: an orphan is recovered, and a directory in use is refused
        self._thread = threading.Thread(target=self._run, name=f"writer-{writer}", daemon=True)
        self._thread.start()

    def append(self, blob: bytes, lines: int) -> asyncio.Future[None]:
        """Queue whole log lines. The future is done when they are durable, or fails with Unavailable. Raises it at once too.

        A caller that is cancelled cancels its future only: the write goes on.
        """
        with self._change:
            if self._stopping:
                raise Stopping("the server is shutting down")
            if self._queued_bytes + len(blob) > self._settings.queue_max_bytes:
                raise Busy("more is waiting for the disk than may wait")
            done: asyncio.Future[None] = self._loop.create_future()
            self._queue.append(_Waiting(blob, lines, done))
            self._queued_bytes += len(blob)
            self._change.notify()
        return done

    def close(self) -> None:
        """Commit what is queued, seal, end the thread. New appends are refused from now on."""
        with self._change:
            self._stopping = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            group, stopping = self._take()
            try:
                if group:
                    self._commit(group)
                if stopping or self._seal_is_due():
                    self._seal()
            except SegmentSuspect as error:
                self._fail_for_good(error)
                return
            if stopping and not group:
                return

    def _take(self) -> tuple[list[_Waiting], bool]:
        """Everything that waits, up to one group's size; at the latest after POLL_S an empty group."""
        with self._change:
            if not self._queue and not self._stopping:
                self._change.wait(POLL_S)
            taken = 0
            count = 0
            for waiting in self._queue:
                if count and taken + len(waiting.blob) > GROUP_MAX_BYTES:
                    break
                taken += len(waiting.blob)
                count += 1
            group, self._queue = self._queue[:count], self._queue[count:]
            self._queued_bytes -= taken
            return group, self._stopping and not self._queue

    def _commit(self, group: list[_Waiting]) -> None:
        blob = b"".join([waiting.blob for waiting in group])
        lines = sum(waiting.lines for waiting in group)
        try:
            self._commit_blob(blob, lines)
        except SegmentSuspect:
            self._resolve(group, Unavailable("the disk failed while storing the events"))
            raise
        except (CommitFailed, OSError) as error:
            self._log.error("commit_failed", writer=self._writer, lines=lines, reason=str(error))
            self._resolve(group, _for_client(error))
        else:
            self._resolve(group, None)

    def _commit_blob(self, blob: bytes, lines: int) -> None:
        active = self._active or self._open_segment()
        try:
            active.commit(blob, lines)
        except SegmentMoved as error:
            self._abandon(active, error)
            if error.written:
                raise
            self._open_segment().commit(blob, lines)
        except CommitFailed as error:
            if error.full:
                self._seal()  # what is full may become half-written: go on in a new segment only
            raise
        if self._active is not None and self._active.lines == lines:
            self._seal_at = time.monotonic() + self._settings.segment_max_age

    def _resolve(self, group: list[_Waiting], error: Unavailable | None) -> None:
        self._loop.call_soon_threadsafe(_finish, group, error)

    def _seal_is_due(self) -> bool:
        # Look at the request even when nothing could be sealed, so that an old one does not seal a later segment.
        requested = self._seal_requests.requested()
        active = self._active
        if active is None or not active.lines:
            return False
        return requested or active.bytes >= self._settings.segment_max_bytes or time.monotonic() >= self._seal_at

    def _seal(self) -> None:
        active, self._active = self._active, None
        if active is None:
            return
        try:
            name = active.seal()
            if name is not None:
                self._sequence += 1
                self._log.info("sealed", segment=name.file, lines=active.lines, bytes=active.bytes)
            if not self._stopping:
                self._open_segment()
        except SegmentMoved as error:
            self._abandon(active, error)
        except OSError as error:
            # The segment stays under its active name with a free lock: opening the next one recovers it first.
            self._sequence = 0
            self._log.error("seal_failed", writer=self._writer, reason=str(error))

    def _open_segment(self) -> ActiveSegment:
        recovered = recover(self._data, self._writer)
        if recovered is not None:
            self._sequence = 0
            log_recovered(self._log, recovered)
        self._sequence = self._sequence or next_sequence(self._data, self._writer)
        self._active = ActiveSegment(self._data, self._writer, self._sequence, self._settings.durability)
        self._seal_at = float("inf")
        return self._active

    def _abandon(self, active: ActiveSegment, error: SegmentMoved) -> None:
        self._log.error("segment_abandoned", writer=self._writer, lines=active.lines, reason=str(error))
        active.abandon()
        self._active = None

    def _fail_for_good(self, error: SegmentSuspect) -> None:
        if self._active is not None:
            name = self._active.seal_as_suspect()
            self._log.error("segment_suspect", segment=name.file if name else None, reason=str(error))
        with self._change:
            self._stopping = True
            group, self._queue = self._queue, []
        self._resolve(group, Unavailable("the disk failed while storing the events"))
        self._on_fatal()


def log_recovered(log: Log, recovered: Recovered) -> None:
    """Say what a recovery kept and what it could not."""
    log.info(
        "recovered",
        writer=recovered.writer,
        segment=recovered.sealed.file if recovered.sealed else None,
        lines=recovered.lines,
        quarantined=recovered.quarantined,
    )


def _finish(group: list[_Waiting], error: Unavailable | None) -> None:
    for waiting in group:
        if waiting.done.done():  # the client went away; its lines were stored all the same
            continue
        if error is None:
            waiting.done.set_result(None)
        else:
            waiting.done.set_exception(error)


def _for_client(error: OSError) -> Unavailable:
    full = error.full if isinstance(error, CommitFailed) else error.errno in FULL
    if full:
        return DiskFull("there is no space left for events")
    return Unavailable("the event log cannot be written")
