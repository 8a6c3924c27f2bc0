"""Which lines of a segment are folded: all lines of an intact segment, the valid lines
of a damaged one. The others are quarantined (P2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from shared.disk.compression import DecompressionError
from shared.disk.layout import DataDirectory
from shared.segments.line import ScannedLine, scan_lines
from shared.segments.quarantine import publish_quarantine
from shared.segments.sealed import Segment, digest, readable_lines
from shared.timestamps import epoch_ms


@dataclass(frozen=True)
class VerifiedSegment:
    """A segment ready to be folded: the file with its valid lines, their number, and
    the quarantined ones.
    """

    segment: Segment
    path: Path
    lines: int
    bad: tuple[BadLine, ...] = ()
    damaged: bool = False

    @property
    def quarantined(self) -> int:
        return len(self.bad)


class BadLine(NamedTuple):
    """A line that cannot be folded: its byte offset (-1: unreadable compressed data)
    and the reason.
    """

    offset: int
    reason: str


class _Required(msgspec.Struct):
    """The fields without which a line cannot be folded, and those that are no text."""

    v: int
    id: str
    name: str
    time: str
    received: str
    site: str
    value: float | None = None
    daily: bool | None = None


_LINE = msgspec.json.Decoder(_Required)


def verify_segment(data: DataDirectory, segment: Segment, scratch: Path, *, each_line: bool = False) -> VerifiedSegment:
    """Compare a segment with its `.sha256`. If they differ, or with `each_line`, only
    lines with a valid CRC are kept, in a file in `scratch`.
    """
    found = digest(segment)
    if found.intact and not each_line:
        return VerifiedSegment(segment, segment.path, found.lines)
    return _keep_valid_lines(data, segment, scratch, damaged=not found.intact)


def _keep_valid_lines(data: DataDirectory, segment: Segment, scratch: Path, *, damaged: bool) -> VerifiedSegment:
    valid = scratch / segment.name.file
    bad = []
    lines = 0
    with valid.open("wb") as out:
        for line in _each_line(segment):
            if line.reason is None:
                out.write(line.content)
                lines += 1
            else:
                bad.append(BadLine(line.offset, line.reason))
    if bad:
        publish_quarantine(
            data, segment.name.stem, segment.path.name, (line for line in _each_line(segment) if line.reason)
        )
    return VerifiedSegment(segment, valid, lines, tuple(bad), damaged or bool(bad))


def _each_line(segment: Segment) -> Iterator[ScannedLine]:
    """The lines of a segment, each with the reason why it cannot be folded; last, if
    the rest cannot be decompressed, that reason.
    """
    try:
        for line in scan_lines(readable_lines(segment.path)):
            yield line._replace(reason=line.reason or _event_error(line.content))
    except DecompressionError as error:
        yield ScannedLine(-1, b"", f"the compressed data cannot be read any further: {error}")


def _event_error(line: bytes) -> str | None:
    """Why a line with a valid CRC cannot be folded, or None."""
    try:
        found = _LINE.decode(line)
        epoch_ms(found.time)
        epoch_ms(found.received)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError) as error:
        return f"not an event: {error}"
    return None
