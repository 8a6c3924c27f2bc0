"""Which bytes of a segment may be folded: all of an intact one, line by line of a
damaged one, the rest to quarantine (P2).
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
    """A segment ready to be folded: where its good lines are, how many, and which went
    to quarantine.
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
    """Where a line that cannot be folded is (-1: where compressed data ends that cannot
    be read), and why not.
    """

    offset: int
    reason: str


class _Required(msgspec.Struct):
    """What a line must have for the fold to place it."""

    v: int
    id: str
    name: str
    time: str
    received: str
    site: str
    value: float | None = None


_LINE = msgspec.json.Decoder(_Required)


def verify_segment(data: DataDirectory, segment: Segment, scratch: Path, *, distrust: bool = False) -> VerifiedSegment:
    """Compare a segment with its `.sha256`; when they differ (or with `distrust`), keep
    what its CRCs vouch for.
    """
    found = digest(segment)
    if found.intact and not distrust:
        return VerifiedSegment(segment, segment.path, found.lines)
    return _keep_good_lines(data, segment, scratch, damaged=not found.intact)


def _keep_good_lines(data: DataDirectory, segment: Segment, scratch: Path, *, damaged: bool) -> VerifiedSegment:
    good = scratch / segment.name.file
    bad = []
    lines = 0
    with good.open("wb") as out:
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
    return VerifiedSegment(segment, good, lines, tuple(bad), damaged or bool(bad))


def _each_line(segment: Segment) -> Iterator[ScannedLine]:
    """The lines of a segment, each with why it cannot be folded; last, where it cannot
    be read to its end, why.
    """
    try:
        for line in scan_lines(readable_lines(segment.path)):
            yield line._replace(reason=line.reason or _unreadable(line.content))
    except DecompressionError as error:
        yield ScannedLine(-1, b"", f"the compressed data cannot be read any further: {error}")


def _unreadable(line: bytes) -> str | None:
    """Why a line whose CRC holds still cannot be folded, or None."""
    try:
        found = _LINE.decode(line)
        epoch_ms(found.time)
        epoch_ms(found.received)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError) as error:
        return f"not an event: {error}"
    return None
