"""Appends imported events durably, by the writer `import`: one blob is on its way to
the disk while the next is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from foldlog.importers.outcome import Imported
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import Unavailable
from shared.disk.layout import DataDirectory
from shared.disk.room import least_room
from shared.segments.line import SCHEMA_VERSION, append_crc
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339

_APPEND_MAX = 4 << 20
_AROUND = 128  # bytes of a line around an event


class Target:
    """Where events are appended: one blob is on its way while the next is made."""

    def __init__(self, writer: CommitQueue | None, data: DataDirectory, settings: Settings, done: Imported) -> None:
        self._writer = writer
        self._data, self._settings = data, settings
        self.done = done
        self._waiting: tuple[asyncio.Future[None], int] | None = None

    @property
    def is_dry(self) -> bool:
        return self._writer is None

    async def append(self, events: list[bytes]) -> None:
        if self._writer is None or not events:
            self.done.events += len(events)
            return
        received = rfc3339(now_ms()).encode("ascii")
        beginning = b'{"v":%d,"received":"%b","id":"' % (SCHEMA_VERSION, received)
        for part in _parts(events, min(_APPEND_MAX, self._settings.queue_max_bytes // 2)):
            check_room(self._data, self._settings, self.done)
            blob = append_crc(beginning, part)
            await self.wait()
            self._waiting = (self._writer.append(blob, len(part)), len(part))
            await asyncio.sleep(0)  # the queue submits from the event loop

    async def wait(self) -> None:
        """Until all that was appended is durable. Raises Unavailable."""
        if self._waiting is not None:
            (appended, events), self._waiting = self._waiting, None
            await appended
            self.done.events += events


def _parts(events: list[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    """Events in parts whose lines have at most `max_bytes`, or of one event."""
    if sum(map(len, events)) + _AROUND * len(events) <= max_bytes or len(events) == 1:
        yield events
        return
    middle = len(events) // 2
    yield from _parts(events[:middle], max_bytes)
    yield from _parts(events[middle:], max_bytes)


def check_room(data: DataDirectory, settings: Settings, done: Imported) -> None:
    """P10: an import must not use up the room in which a server stores events. Raises
    Unavailable.
    """
    room = least_room(data)
    if room.free_bytes < settings.disk_reserve:
        raise Unavailable(
            f"the disk of {room.directory} is nearly full: {room.free_bytes:,} bytes are free, "
            f"FOLDLOG_DISK_RESERVE is {settings.disk_reserve:,}. "
            f"{done.events:,} events were appended; import the file again once there is room, and each counts once"
        )
