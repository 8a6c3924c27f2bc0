"""`foldlog tail`: the events of all writers, merged as they arrive, as a person reads
them or as they were written.

Every event is shown once, also when its segment was opened and sealed between two
looks, or recovered after its writer died. What a terminal would act on is shown as
escapes. Damaged lines are left out, and said to be.
"""

from __future__ import annotations

import heapq
import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shared.control_chars import escape_control_chars
from shared.disk.layout import DataDirectory, parse_active, parse_segment
from shared.segments.line import PIECE_MAX_BYTES, scan_lines
from shared.segments.sealed import Segment, readable_lines, sealed_segments
from shared.timestamps import rfc3339

POLL_S = 0.2
_BLOCK = 1 << 20
# A directory may change twice in one tick of the clock that its modification time is
# of: so long it is looked at again.
_TICK_NS = 1_000_000_000


class _About(msgspec.Struct):
    name: str
    site: str


_ABOUT = msgspec.json.Decoder(_About)


@dataclass(frozen=True)
class Wanted:
    """Which events: those with one of the names, on one of the sites. Empty: all."""

    events: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()

    def takes(self, line: bytes) -> bool:
        """Whether to show a line. Raises DecodeError for one that is no event."""
        if not self.events and not self.sites:
            return True
        about = _ABOUT.decode(line)
        return (not self.events or about.name in self.events) and (not self.sites or about.site in self.sites)


@dataclass
class _Reading:
    """How far an active segment has been read. The descriptor stays on the file when it
    is renamed by its seal.
    """

    descriptor: int
    offset: int = 0
    begun: bool = False

    def new_lines(self) -> Iterator[bytes]:
        """Whole lines. Half a one is read again: its writer may yet take it back, when
        the disk does not take the rest.
        """
        rest = b""
        while block := os.pread(self.descriptor, _BLOCK, self.offset + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self.offset += len(line) + 1
                yield line + b"\n"
            if len(rest) > PIECE_MAX_BYTES:  # no line is that long
                self.offset += len(rest)
                yield rest
                rest = b""


@dataclass
class _Last:
    """The lines that were received last, at most `count`, whatever the order in which
    they come.
    """

    count: int
    _kept: list[tuple[bytes, int, int, bytes]] = field(default_factory=list)
    _added: int = 0

    def add(self, line: bytes, age: int) -> None:
        """`age` is higher for an older segment: what was received in the same
        millisecond stays in order.
        """
        self._added += 1
        entry = (_received(line), -age, self._added, line)
        if len(self._kept) < self.count:
            heapq.heappush(self._kept, entry)
        elif self.count:
            heapq.heappushpop(self._kept, entry)

    def cannot_be_of(self, segment: Segment) -> bool:
        """Whether all that a segment holds was received before what is kept: a name has
        the second in which it was sealed.
        """
        sealed_ms = int(segment.name.sealed_at.timestamp() + 1) * 1000
        return not self.count or (len(self._kept) == self.count and rfc3339(sealed_ms).encode() < self._kept[0][0])

    def lines(self) -> list[bytes]:
        return [line for _, _, _, line in sorted(self._kept)]


class Follower:
    """The log of a directory, read as it grows. `left_out` counts what is damaged."""

    def __init__(self, data: DataDirectory, wanted: Wanted) -> None:
        self.left_out = 0
        self._data = data
        self._wanted = wanted
        self._reading: dict[int, _Reading] = {}
        self._begun: set[int] = (
            set()
        )  # hashes of the first lines of what was read: a segment is known by its first line
        self._names = set(os.listdir(data.log))
        self._changed_ns = -1
        self._sealed = sealed_segments(data)
        self._known = {(segment.name.writer, segment.name.sequence) for segment in self._sealed}

    def last(self, count: int, progress: Callable[[], None] = lambda: None) -> list[bytes]:
        """The wanted lines that were received last. Called once, before `look`; reads
        back no further than it must.
        """
        last = _Last(count)
        for line in self.look():
            last.add(line, 0)
        newest_first = sorted(self._sealed, key=lambda segment: segment.name.sealed_at, reverse=True)
        for age, segment in enumerate(newest_first, 1):
            if last.cannot_be_of(segment):
                break
            progress()
            for line in self._read(segment):
                last.add(line, age)
        self._sealed = []
        return last.lines()

    def look(self) -> Iterator[bytes]:
        """What is wanted of the lines that were written since the last look, segment by
        segment.
        """
        new = self._list()
        open_now = self._open() if new is not None else set(self._reading)
        for each in self._reading.values():
            for line in self._good(each.new_lines()):
                if not each.begun:
                    each.begun = True
                    self._begun.add(hash(line))
                yield from self._if_wanted(line)
        for inode in self._reading.keys() - open_now:
            os.close(self._reading.pop(inode).descriptor)
        for segment in new or ():
            yield from self._unless_read(segment)

    def _list(self) -> list[Segment] | None:
        """Segments that were sealed since the last look, some of which were read while
        they were active. None: no change.
        """
        changed_ns = self._data.log.stat().st_mtime_ns
        if changed_ns == self._changed_ns:
            return None
        names = set(os.listdir(self._data.log))
        # Not one by one: there may be a hundred thousand.
        new, self._names = names - self._names, names
        has_settled = time.time_ns() - changed_ns > _TICK_NS
        self._changed_ns = changed_ns if has_settled else -1
        found = []
        for name in sorted(new):
            parsed = parse_segment(name)
            if parsed is not None and (parsed.writer, parsed.sequence) not in self._known:
                self._known.add((parsed.writer, parsed.sequence))
                found.append(Segment(parsed, self._data.log / name))
        return found

    def _open(self) -> set[int]:
        """The inodes of the active segments. Those that are new are opened."""
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
        """The lines of a sealed segment, if it was not read while it was active, or is
        not the rescue of one that was.
        """
        first = True
        for line in self._good(self._sealed_lines(segment)):
            if first and hash(line) in self._begun:
                return
            first = False
            yield from self._if_wanted(line)

    def _read(self, segment: Segment) -> Iterator[bytes]:
        for line in self._good(self._sealed_lines(segment)):
            yield from self._if_wanted(line)

    def _sealed_lines(self, segment: Segment) -> Iterator[bytes]:
        path = next(iter(segment.copies), segment.path)  # it may have been compressed since it was listed
        try:
            yield from readable_lines(path)
        except FileNotFoundError:
            return
        except OSError:  # damaged: what comes behind cannot be had
            self.left_out += 1

    def _good(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in scan_lines(lines):
            if line.reason is None:
                yield line.content
            else:
                self.left_out += 1

    def _if_wanted(self, line: bytes) -> Iterator[bytes]:
        try:
            if self._wanted.takes(line):
                yield line
        except msgspec.DecodeError:
            self.left_out += 1


class Printer:
    """Lines on standard output, each batch at once, so that a pipe gets them while they
    are new.
    """

    def __init__(self, *, as_written: bool) -> None:
        self._as_written = as_written
        self._is_terminal = sys.stdout.isatty()
        self._said = 0
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # whatever the locale can show

    def write(self, lines: Iterable[bytes], left_out: int) -> None:
        for line in lines:
            if not self._as_written:
                sys.stdout.write(readable(line) + "\n")
            else:
                sys.stdout.buffer.write(escape_control_chars(line) if self._is_terminal else line)
        sys.stdout.flush()
        if left_out > self._said:
            self._said = left_out
            said = f"{left_out} damaged pieces of the log are left out; `foldlog verify` names them"
            print(f"foldlog: {said}", file=sys.stderr, flush=True)


def wait_for_more() -> None:
    """Wait until the next look. Raises BrokenPipeError when nobody reads the output any
    more, though nothing is written.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(POLL_S * 1000):
        raise BrokenPipeError


def readable(line: bytes) -> str:
    """One line for a terminal: when, what, where, who."""
    try:
        event = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return _harmless(line.decode("utf-8", "backslashreplace").rstrip("\n"))
    place = event.get("url") or event.get("site", "")
    shown = [
        event.get("time", ""),
        event.get("name", ""),
        place,
        f"visitor={event['visitor']}" if "visitor" in event else "",
    ]
    if "value" in event:
        shown.append(f"value={event['value']:g}")
    shown += [f"{name}={value}" for name, value in event.get("props", {}).items()]
    # JSON wrote the hazards as escapes; they must not come back to life on the
    # terminal.
    return "  ".join(_harmless(part) for part in shown if part)


def _harmless(text: Any) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))


def received_order(lines: Iterable[bytes]) -> list[bytes]:
    return sorted(lines, key=_received)


def _received(line: bytes) -> bytes:
    _, _, rest = line.partition(b'"received":"')
    return rest[:24]
