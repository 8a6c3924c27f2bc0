"""`foldlog tail`: the events of all writers, merged as they arrive.

Every event is read once, even if its segment was opened and sealed between two polls,
or recovered after its writer died. Damaged lines are skipped and counted.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from shared.disk.layout import DataDirectory, parse_active, parse_segment
from shared.segments.line import PIECE_MAX_BYTES, scan_lines
from shared.segments.sealed import Segment, readable_lines, sealed_segments
from shared.timestamps import rfc3339

_BLOCK = 1 << 20
# A directory may change twice within one tick of the clock behind its modification
# time. Until the tick is over, it is listed again.
_TICK_NS = 1_000_000_000


class _LineHead(msgspec.Struct):
    name: str
    site: str


_LINE_HEAD = msgspec.json.Decoder(_LineHead)


@dataclass(frozen=True)
class TailFilter:
    """Matches events with one of the names, on one of the sites. Empty: all."""

    events: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()

    def matches(self, line: bytes) -> bool:
        """Whether to show a line. Raises DecodeError if it is not an event."""
        if not self.events and not self.sites:
            return True
        head = _LINE_HEAD.decode(line)
        return (not self.events or head.name in self.events) and (not self.sites or head.site in self.sites)


@dataclass
class _Reading:
    """How far an active segment has been read. The descriptor still refers to the file
    after sealing has renamed it.
    """

    descriptor: int
    offset: int = 0
    has_begun: bool = False

    def new_lines(self) -> Iterator[bytes]:
        """Whole lines. An incomplete one is read again, because its writer truncates it
        if the disk does not take the rest.
        """
        rest = b""
        while block := os.pread(self.descriptor, _BLOCK, self.offset + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self.offset += len(line) + 1
                yield line + b"\n"
            if len(rest) > PIECE_MAX_BYTES:  # longer than any line
                self.offset += len(rest)
                yield rest
                rest = b""


@dataclass
class _Last:
    """The `count` lines that were received last, added in any order."""

    count: int
    _kept: list[tuple[bytes, int, int, bytes]] = field(default_factory=list)
    _added: int = 0

    def add(self, line: bytes, age: int) -> None:
        """`age` is higher for an older segment, which keeps lines of the same
        millisecond in order.
        """
        self._added += 1
        entry = (_received(line), -age, self._added, line)
        if len(self._kept) < self.count:
            heapq.heappush(self._kept, entry)
        elif self.count:
            heapq.heappushpop(self._kept, entry)

    def is_newer_than(self, segment: Segment) -> bool:
        """Whether every line of a segment was received before the lines kept here. Its
        name has the second in which it was sealed.
        """
        sealed_ms = int(segment.name.sealed_at.timestamp() + 1) * 1000
        return not self.count or (len(self._kept) == self.count and rfc3339(sealed_ms).encode() < self._kept[0][0])

    def lines(self) -> list[bytes]:
        return [line for _, _, _, line in sorted(self._kept)]


class Follower:
    """The log of a directory, read as it grows. `damaged` counts skipped pieces."""

    def __init__(self, data: DataDirectory, filter_: TailFilter) -> None:
        self.damaged = 0
        self._data = data
        self._filter = filter_
        self._reading: dict[int, _Reading] = {}
        # A segment is recognised by the hash of its first line.
        self._begun: set[int] = set()
        self._names = set(os.listdir(data.log))
        self._changed_ns = -1
        self._sealed = sealed_segments(data)
        self._known = {(segment.name.writer, segment.name.sequence) for segment in self._sealed}

    def last(self, count: int, progress: Callable[[], None] = lambda: None) -> list[bytes]:
        """The matching lines that were received last. Called once, before `poll`; reads
        back no further than necessary.
        """
        last = _Last(count)
        for line in self.poll():
            last.add(line, 0)
        newest_first = sorted(self._sealed, key=lambda segment: segment.name.sealed_at, reverse=True)
        for age, segment in enumerate(newest_first, 1):
            if last.is_newer_than(segment):
                break
            progress()
            for line in self._read(segment):
                last.add(line, age)
        self._sealed = []
        return last.lines()

    def poll(self) -> Iterator[bytes]:
        """The matching lines written since the last call, segment by segment."""
        new = self._list()
        open_now = self._open() if new is not None else set(self._reading)
        for each in self._reading.values():
            for line in self._good(each.new_lines()):
                if not each.has_begun:
                    each.has_begun = True
                    self._begun.add(hash(line))
                yield from self._if_matching(line)
        for inode in self._reading.keys() - open_now:
            os.close(self._reading.pop(inode).descriptor)
        for segment in new or ():
            yield from self._unless_read(segment)

    def _list(self) -> list[Segment] | None:
        """Segments that were sealed since the last call, including those that were read
        while they were active. None: no change.
        """
        changed_ns = self._data.log.stat().st_mtime_ns
        if changed_ns == self._changed_ns:
            return None
        names = set(os.listdir(self._data.log))  # as sets: there may be a hundred thousand
        new, self._names = names - self._names, names
        mtime_is_stable = time.time_ns() - changed_ns > _TICK_NS
        self._changed_ns = changed_ns if mtime_is_stable else -1
        found = []
        for name in sorted(new):
            parsed = parse_segment(name)
            if parsed is not None and (parsed.writer, parsed.sequence) not in self._known:
                self._known.add((parsed.writer, parsed.sequence))
                found.append(Segment(parsed, self._data.log / name))
        return found

    def _open(self) -> set[int]:
        """The inodes of the active segments. Opens the new ones."""
        open_now = set()
        for name in self._names:
            if parse_active(name) is None:
                continue
            try:
                descriptor = os.open(self._data.log / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            inode = os.fstat(descriptor).st_ino
            open_now.add(inode)
            if inode in self._reading:
                os.close(descriptor)
            else:
                self._reading[inode] = _Reading(descriptor)
        return open_now

    def _unless_read(self, segment: Segment) -> Iterator[bytes]:
        """The lines of a sealed segment, unless it was read while it was active, or was
        recovered from one that was.
        """
        first = True
        for line in self._good(self._sealed_lines(segment)):
            if first and hash(line) in self._begun:
                return
            first = False
            yield from self._if_matching(line)

    def _read(self, segment: Segment) -> Iterator[bytes]:
        for line in self._good(self._sealed_lines(segment)):
            yield from self._if_matching(line)

    def _sealed_lines(self, segment: Segment) -> Iterator[bytes]:
        path = next(iter(segment.copies), segment.path)  # compressed since it was listed, perhaps
        try:
            yield from readable_lines(path)
        except FileNotFoundError:
            return
        except OSError:  # damaged: the rest is unreadable
            self.damaged += 1

    def _good(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in scan_lines(lines):
            if line.reason is None:
                yield line.content
            else:
                self.damaged += 1

    def _if_matching(self, line: bytes) -> Iterator[bytes]:
        try:
            if self._filter.matches(line):
                yield line
        except msgspec.DecodeError:
            self.damaged += 1


def in_order_of_arrival(lines: Iterable[bytes]) -> list[bytes]:
    return sorted(lines, key=_received)


def _received(line: bytes) -> bytes:
    _, _, rest = line.partition(b'"received":"')
    return rest[:24]
