"""Group commit, the event-loop half: a bounded queue of finished log lines, each with a
future that is done when its lines are durable (P1).

The thread gets one group at a time: all lines that arrived while it committed the last
one. So groups grow as large as the disk is slow, and one sync serves all of a group.
What the thread does with a group is in segment_writer.py.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

from ingest.wal.segment_writer import SegmentWriter
from ingest.wal.unavailable import Busy, Stopping, Unavailable
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.worker_stats import WorkerStats

POLL_S = 0.2
GROUP_MAX_BYTES = 8 << 20


class _Append(NamedTuple):
    """The lines of one caller, and the future that it awaits."""

    blob: bytes
    lines: int
    done: asyncio.Future[None]


class _Group(NamedTuple):
    """The appends that one commit makes durable."""

    members: list[_Append]
    blob: bytes
    lines: int


class CommitQueue:
    """The write queue of one log writer. All public methods belong to the event loop.

    `on_fatal` is called from the thread when it can no longer store lines: the process
    should end, to be restarted.
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
        """Recover an abandoned segment, open a new one, start the thread. Raises
        WriterAlive when another process has this writer's segment open, or OSError.
        """
        self._settings = settings
        self._on_fatal = on_fatal
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Append] = []
        self._bytes = 0  # waiting and in flight
        self._requests = 0  # likewise
        self._in_flight = False
        self._submitted_at = 0.0
        self._idle = asyncio.Event()
        self._stopping = False
        self._groups: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()  # None ends the thread
        self.segment_writer = SegmentWriter(data, writer, settings, log, stats or WorkerStats())
        self._thread = threading.Thread(target=self._run, name=f"writer-{writer}", daemon=True)
        self._thread.start()

    def append(self, blob: bytes, lines: int) -> asyncio.Future[None]:
        """Queue finished log lines; `lines` is their number. Raises Busy or Stopping.

        The future is done when they are durable, or fails with Unavailable. A caller
        that is cancelled cancels its future only: the lines are still written.
        """
        if self._stopping:
            raise Stopping("the server is shutting down")
        if self.is_full(len(blob)):
            raise Busy("the write queue is full")
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(_Append(blob, lines, done))
        self._bytes += len(blob)
        self._requests += 1
        if not self._in_flight:
            self._in_flight = True
            self._submitted_at = time.monotonic()
            self._loop.call_soon(self._submit_next_group)  # not now: appends of the same moment share a group
        return done

    def is_full(self, size: int = 0) -> bool:
        """Whether `size` more bytes do not fit into the queue."""
        settings = self._settings
        return self._bytes + size > settings.queue_max_bytes or self._requests >= settings.queue_max_requests

    @property
    def waiting(self) -> tuple[int, int]:
        """Requests and bytes that wait for the disk."""
        return self._requests, self._bytes

    @property
    def stalled_s(self) -> float:
        """How long the commit in flight has taken so far; 0 when there is none."""
        return time.monotonic() - self._submitted_at if self._in_flight else 0.0

    @property
    def failed_s(self) -> float:
        """How long ago a commit failed; infinite when the last one succeeded."""
        return time.monotonic() - self.segment_writer.failed_at

    @property
    def is_taken_over(self) -> bool:
        """Whether another host continues this instance, so that nothing is stored."""
        store_log = self.segment_writer.store_log
        return store_log is not None and store_log.is_taken_over

    def has_segment(self) -> bool:
        """Whether the writer has an open, locked segment under its name."""
        return self.segment_writer.has_segment()

    def request_seal(self) -> None:
        """Have the open segment sealed before its size or age is reached. Returns at
        once.
        """
        self.segment_writer.seals.request()

    async def close(self) -> None:
        """Commit what is queued, seal, end the thread. Later appends raise Stopping."""
        self._stopping = True
        while self._in_flight:
            self._idle.clear()
            await self._idle.wait()
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join)

    def _submit_next_group(self) -> None:
        """Give the thread what waits, up to one group's size."""
        waiting = self._waiting
        count = len(waiting) if self._bytes <= GROUP_MAX_BYTES else _count_for_group(waiting)
        members, self._waiting = waiting[:count], waiting[count:]
        self._submitted_at = time.monotonic()
        self._groups.put(
            _Group(members, b"".join([each.blob for each in members]), sum([each.lines for each in members]))
        )

    def _finish(self, members: list[_Append], error: Unavailable | None) -> None:
        """On the event loop: resolve the futures of a group, then submit the next
        one.
        """
        for blob, _, done in members:
            self._bytes -= len(blob)
            self._requests -= 1
            if done.done():  # cancelled: the client disconnected; its lines were stored all the same
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        if self._waiting:
            self._loop.call_soon(self._submit_next_group)  # not now: later appends of this turn join the group
        else:
            self._in_flight = False
            self._idle.set()

    def _reject_all(self, members: list[_Append], error: Unavailable) -> None:
        """On the event loop, after the thread has ended for good: neither its last
        group nor what waits is stored.
        """
        self._stopping = True
        waiting, self._waiting = self._waiting, []
        while not self._groups.empty():  # submitted after the thread's last group, before this call
            group = self._groups.get()
            waiting += group.members if group else []
        self._finish(members + waiting, error)

    def _run(self) -> None:
        """The thread: commit each group, seal and check the segment in between."""
        writer = self.segment_writer
        unanswered: list[_Append] = []
        try:
            while True:
                try:
                    group = self._groups.get(timeout=POLL_S)
                except queue.Empty:
                    writer.maintain()
                    continue
                if group is None:
                    writer.close()
                    return
                unanswered = group.members
                self._commit(group)
                unanswered = []
                writer.seal_if_due()
        except Exception as error:  # noqa: BLE001  a suspect segment or a defect: this thread can store nothing more
            writer.fail(error)
            self._on_fatal()
            failure = Unavailable("the disk failed while storing the events")
            self._loop.call_soon_threadsafe(self._reject_all, unanswered, failure)

    def _commit(self, group: _Group) -> None:
        error = self.segment_writer.commit(group.blob, group.lines)
        self._loop.call_soon_threadsafe(self._finish, group.members, error)


def _count_for_group(waiting: list[_Append]) -> int:
    """How many fit into a group, at least one."""
    sizes = accumulate(len(each.blob) for each in waiting)
    return max(1, sum(size <= GROUP_MAX_BYTES for size in sizes))
