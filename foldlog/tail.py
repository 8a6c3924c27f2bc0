"""`foldlog tail`: the events of all writers, merged as they arrive, as a person reads them or as they were written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from shared.layout import DataDirectory
from shared.line import flaw
from shared.segments import active_segments, open_segment, sealed_segments

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


def last_lines(data: DataDirectory, count: int) -> list[bytes]:
    """The `count` lines of the log that were received last, in that order."""
    lines: list[bytes] = []
    for path in active_segments(data).values():
        lines += _all_lines(path)
    for segment in sorted(sealed_segments(data), key=lambda segment: segment.name.sealed_at, reverse=True):
        if len(lines) >= count:
            break
        lines += _all_lines(segment.path)
    return sorted(lines, key=_received)[-count:] if count else []


def follow(data: DataDirectory) -> Iterator[list[bytes]]:
    """From now on, the new lines of each look at the log, in the order in which they were received. Does not end."""
    reading: dict[int, _Reading] = {}
    first = True
    while True:
        for path in active_segments(data).values():
            try:
                inode = path.stat().st_ino
                if inode not in reading:
                    reading[inode] = _Reading(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                    if first:
                        reading[inode].new_lines()
            except FileNotFoundError:
                continue
        open_now = {path.stat().st_ino for path in active_segments(data).values() if path.exists()}
        yield sorted((line for each in reading.values() for line in each.new_lines()), key=_received)
        for inode in [inode for inode in reading if inode not in open_now]:
            os.close(reading.pop(inode).descriptor)
        first = False
        time.sleep(POLL_S)


def readable(line: bytes) -> str:
    """One line for a terminal: when, what, where, who."""
    event = orjson.loads(line)
    place = event.get("url") or event["site"]
    shown = [event["time"], event["name"], place, f"visitor={event['visitor']}" if "visitor" in event else ""]
    if "value" in event:
        shown.append(f"value={event['value']:g}")
    shown += [f"{name}={value}" for name, value in event.get("props", {}).items()]
    # JSON wrote the hazards as escapes; they must not come back to life on the terminal.
    return "  ".join(_harmless(part) for part in shown if part)


def _harmless(text: Any) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))


def _all_lines(path: os.PathLike[str]) -> list[bytes]:
    try:
        with open_segment(path) as file:  # type: ignore[arg-type]
            return [line for line in file if flaw(line) is None]
    except FileNotFoundError:
        return []


def _received(line: bytes) -> bytes:
    _, _, rest = line.partition(b'"received":"')
    return rest[:24]
