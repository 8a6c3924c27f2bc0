"""Which lines of a segment are folded: all lines of an intact segment, the valid lines
of a damaged one. The others are quarantined (P2).

Of a piece of a segment each line is checked, and the valid ones are copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from shared.disk.compression import DecompressionError
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import SetAside
from shared.segments.line import ScannedLine, scan_lines
from shared.segments.quarantine import publish_quarantine
from shared.segments.sealed import Segment, digest, readable_lines
from shared.timestamps import epoch_ms


@dataclass(frozen=True)
class Piece:
    """What a pass folds of a segment: the lines that begin within `size` bytes from
    `start`, but at least one (None: all from there on).

    `without` are UTC days whose lines are set aside with `reason`, after so many
    `tries`. `again` is the entry of the ledger that is tried again; its day, if it has
    one, is folded alone.
    """

    segment: Segment
    start: int = 0
    size: int | None = None
    without: frozenset[date] = frozenset()
    reason: str = ""
    tries: int = 0
    again: SetAside | None = None

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.size is None

    @property
    def plain_bytes(self) -> int:
        """The approximate length of its lines."""
        rest = max(0, self.segment.plain_bytes - self.start)
        return rest if self.size is None else min(rest, self.size)


@dataclass(frozen=True)
class VerifiedSegment:
    """A segment, or a piece of one, ready to be folded: the file with its valid lines,
    their number, and the quarantined ones.

    `end` is the byte of the segment after the piece, None if the segment ends there.
    """

    segment: Segment
    path: Path
    lines: int
    bad: tuple[BadLine, ...] = ()
    damaged: bool = False
    piece: Piece | None = None
    end: int | None = None

    @property
    def quarantined(self) -> int:
        return len(self.bad)

    @property
    def again(self) -> SetAside | None:
        """The entry of the ledger that is tried again."""
        return self.piece.again if self.piece else None


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


def verify_piece(data: DataDirectory, piece: Piece, scratch: Path, *, each_line: bool = False) -> VerifiedSegment:
    """As `verify_segment`. The damage of a segment is counted with its first piece."""
    if piece.is_whole:
        whole = verify_segment(data, piece.segment, scratch, each_line=each_line)
        return replace(whole, piece=piece)
    damaged = piece.start == 0 and not digest(piece.segment).intact
    return _keep_valid_lines(data, piece.segment, scratch, damaged=damaged, piece=piece)


class Extent(NamedTuple):
    """The lines of a piece, valid or not, their bytes, and the byte after them, None if
    the segment ends there.
    """

    lines: int
    bytes: int
    end: int | None


def extent_of(piece: Piece) -> Extent:
    """Read a piece to find its end. Raises OSError."""
    lines = size = 0
    end: int | None = None
    for line, after in lines_of(piece):
        lines, size, end = lines + 1, size + len(line.content), after
    return Extent(lines, size, end)


def _keep_valid_lines(
    data: DataDirectory, segment: Segment, scratch: Path, *, damaged: bool, piece: Piece | None = None
) -> VerifiedSegment:
    valid = scratch / segment.name.file
    bad = []
    lines = 0
    end: int | None = None
    with valid.open("wb") as out:
        for line, after in lines_of(piece or Piece(segment)):
            end = after
            if line.reason is None:
                out.write(line.content)
                lines += 1
            else:
                bad.append(BadLine(line.offset, line.reason))
    if bad:
        publish_quarantine(
            data, segment.name.stem, segment.path.name, (line for line in _each_line(segment) if line.reason)
        )
    is_first = piece is None or piece.start == 0
    return VerifiedSegment(segment, valid, lines, tuple(bad), damaged or (bool(bad) and is_first), piece, end)


def lines_of(piece: Piece) -> Iterator[tuple[ScannedLine, int | None]]:
    """The lines of a piece, each with the byte after it; None if it is the last one of
    the segment.
    """
    stop = None if piece.size is None else piece.start + piece.size
    last: ScannedLine | None = None
    for line in _each_line(piece.segment, piece.start):
        if last is not None:
            yield last, line.offset if line.offset >= 0 else last.offset + len(last.content)
            if stop is not None and line.offset >= stop:
                return
        last = line
    if last is not None:
        yield last, None


def _each_line(segment: Segment, start: int = 0) -> Iterator[ScannedLine]:
    """The lines of a segment from a byte on, each with the reason why it cannot be
    folded; last, if the rest cannot be decompressed, that reason.
    """
    try:
        for line in scan_lines(readable_lines(segment.path, start)):
            yield line._replace(offset=line.offset + start, reason=line.reason or _event_error(line.content))
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
