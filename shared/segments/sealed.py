"""The sealed segments of the log: list them, read them, check them. Plain, gzip or
zstd, a reader cannot tell.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared.disk.compression import CannotInflate, inflated, open_inflated
from shared.disk.layout import PACKED_SUFFIXES, DataDirectory, SegmentName, parse_active, parse_segment
from shared.disk.listing import list_names
from shared.segments.line import PIECE_MAX_BYTES, iter_lines

_BLOCK = 1 << 20
# What cannot be inflated costs the block that it is in: small ones, where a line is
# worth more than time.
_SALVAGE_BLOCK = 64
_PACKED_RATIO = 10


@dataclass(frozen=True)
class Segment:
    """A sealed segment on disk."""

    name: SegmentName
    path: Path

    @property
    def checksum(self) -> Path:
        return self.path.with_name(self.name.checksum)

    @property
    def suffix(self) -> str:
        """How it is stored: an empty text for plain, else one of PACKED_SUFFIXES."""
        return self.path.suffix if self.path.suffix in PACKED_SUFFIXES else ""

    @property
    def copies(self) -> list[Path]:
        """Every file that holds its lines: while it is being compressed, or after that
        was killed, there are two.
        """
        names = (self.name.file, *(self.name.packed(suffix) for suffix in PACKED_SUFFIXES))
        return [path for path in map(self.path.with_name, names) if path.exists()]

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def plain_bytes(self) -> int:
        """About how many bytes its lines have: what bounds memory is not how small they
        can be made.
        """
        return self.bytes * (_PACKED_RATIO if self.suffix else 1)


@dataclass(frozen=True)
class Digest:
    """What one read of a segment finds: its lines, and whether its bytes are the ones
    that were sealed.

    `intact` is False when the bytes differ from the `.sha256` file, or when there is
    none: then only its CRCs speak for a line.
    """

    lines: int
    sha256: str
    intact: bool


def sealed_segments(data: DataDirectory) -> list[Segment]:
    """All sealed segments, by writer and sequence. A segment present both plain and
    compressed is listed once.
    """
    found: dict[tuple[str, int], Segment] = {}
    log = data.log
    for file in list_names(
        log
    ):  # names, not paths: there may be a hundred thousand, and to sort paths took most of the time
        name = parse_segment(file)
        if name is not None:
            found.setdefault((name.writer, name.sequence), Segment(name, log / file))
    return [found[key] for key in sorted(found)]


def file_sizes(data: DataDirectory) -> dict[str, int]:
    """Bytes of every file of the log, by name; what is sealed, compressed or removed
    meanwhile may be missing.
    """
    sizes = {}
    with os.scandir(data.log) as entries:
        for entry in entries:
            try:
                sizes[entry.name] = entry.stat().st_size
            except FileNotFoundError:
                continue
    return sizes


def active_segments(data: DataDirectory) -> dict[str, Path]:
    """Active segments by writer, whether their writer lives or not."""
    log = data.log
    found = ((parse_active(file), file) for file in list_names(log))
    return {writer: log / file for writer, file in found if writer is not None}


def open_segment(path: Path) -> BinaryIO:
    """Open a segment for reading as the lines that were written, compressed or not.
    Reading may raise CannotInflate.
    """
    return open_inflated(path)


def digest(segment: Segment) -> Digest:
    """Read a segment once: count its lines and compare it with its `.sha256`. Raises
    OSError when it cannot be read.
    """
    sha256 = hashlib.sha256()
    lines = 0
    torn = False
    try:
        for block in inflated(segment.path, _BLOCK):
            sha256.update(block)
            lines += block.count(b"\n")
            torn = not block.endswith(b"\n")
    except CannotInflate:
        return Digest(lines, "", intact=False)
    found = sha256.hexdigest()
    return Digest(lines + torn, found, intact=found == recorded_sha256(segment.checksum))


def recorded_sha256(checksum: Path) -> str | None:
    """The hash in a `sha256sum -c` file, or None when there is no such file or it holds
    none.
    """
    try:
        word = checksum.read_text("ascii").partition(" ")[0]
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return word if len(word) == 64 else None


def sha256_line(digest: str, file: str) -> bytes:
    """The content of a `.sha256` file."""
    return f"{digest}  {file}\n".encode("ascii")


def count_lines(path: Path) -> int:
    """Complete lines in a file that may still grow; in a damaged compressed one, those
    that can be read.
    """
    lines = 0
    try:
        for block in inflated(path, _BLOCK):
            lines += block.count(b"\n")
    except CannotInflate:
        return lines
    return lines


def readable_lines(path: Path) -> Iterator[bytes]:
    """The lines of a segment that may be damaged. Raises CannotInflate after the last
    one that can be read.
    """
    if path.suffix not in PACKED_SUFFIXES:
        with path.open("rb") as file:
            yield from iter_lines(file)
        return
    rest = b""
    try:
        for block in inflated(path, _SALVAGE_BLOCK):
            *whole, rest = (rest + block).split(b"\n")
            yield from (line + b"\n" for line in whole)
            if len(rest) > PIECE_MAX_BYTES:
                yield rest
                rest = b""
    except CannotInflate:
        if rest:
            yield rest
        raise
    if rest:
        yield rest
