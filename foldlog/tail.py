"""`foldlog tail`: the events of all writers, merged as they arrive, as a person reads them or as they were written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shared.compression import CannotInflate
from shared.layout import DataDirectory
from shared.line import scan
from shared.segments import Segment, active_segments, salvage, sealed_segments

POLL_S = 0.2


@dataclass
class _Reading:
    """How far one segment has been read. The descriptor stays on the file when it is renamed by its seal."""

    descriptor: int
    rest: bytes = b""

    def new_lines(self) -> list[bytes]:
        chunks = [self.rest]
        while block := os.read(self.descriptor, 1 << 20):
            chunks.append(block)
        *lines, self.rest = b"".join(chunks).split(b"\n")
        return [line + b"\n" for line in lines]


def follow(data: DataDirectory, count: int) -> Iterator[list[bytes]]:
    """First the `count` lines that were received last, then at each look the new ones, in order. Does not end."""
    reading: dict[int, _Reading] = {}
    lines = _look(data, reading)
    for segment in sorted(sealed_segments(data), key=lambda segment: segment.name.sealed_at, reverse=True):
        if len(lines) >= count:
            break
        if _inode(segment.path) not in reading:  # sealed since the look
            lines += _all_lines(segment)
    yield sorted(lines, key=_received)[-count:] if count else []
    while True:
        time.sleep(POLL_S)
        yield sorted(_look(data, reading), key=_received)


def _look(data: DataDirectory, reading: dict[int, _Reading]) -> list[bytes]:
    """New lines of all active segments, and the last ones of those that were sealed since the last look."""
    open_now = set()
    for path in active_segments(data).values():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        inode = os.fstat(descriptor).st_ino
        open_now.add(inode)
        if inode in reading:
            os.close(descriptor)
        else:
            reading[inode] = _Reading(descriptor)
    lines = [line for each in reading.values() for line in each.new_lines()]
    for inode in [inode for inode in reading if inode not in open_now]:
        os.close(reading.pop(inode).descriptor)
    return lines


def readable(line: bytes) -> str:
    """One line for a terminal: when, what, where, who."""
    event = msgspec.json.decode(line)
    place = event.get("url") or event["site"]
    shown = [event["time"], event["name"], place, f"visitor={event['visitor']}" if "visitor" in event else ""]
    if "value" in event:
        shown.append(f"value={event['value']:g}")
    shown += [f"{name}={value}" for name, value in event.get("props", {}).items()]
    # JSON wrote the hazards as escapes; they must not come back to life on the terminal.
    return "  ".join(_harmless(part) for part in shown if part)


def _harmless(text: Any) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))


def _all_lines(segment: Segment) -> list[bytes]:
    """The good ones, those of a damaged segment, too."""
    lines: list[bytes] = []
    for path in segment.copies[:1]:  # which may have become another since it was listed: somebody compresses it
        with suppress(FileNotFoundError, CannotInflate):
            for line in scan(salvage(path)):
                lines += [line.content] if line.reason is None else []
    return lines


def _inode(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return 0


def _received(line: bytes) -> bytes:
    _, _, rest = line.partition(b'"received":"')
    return rest[:24]
