"""The sealed segments of the log: list them, read them, check them. Plain or gzip, a reader cannot tell."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from shared.layout import DataDirectory, SegmentName, parse_active, parse_segment
from shared.line import PIECE_MAX_BYTES, lines_of

_BLOCK = 1 << 20
# What cannot be inflated costs the block that it is in: small ones, where a line is worth more than time.
_SALVAGE_BLOCK = 64
_INFLATED_BLOCK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class Segment:
    """A sealed segment on disk."""

    name: SegmentName
    path: Path

    @property
    def checksum(self) -> Path:
        return self.path.with_name(self.name.checksum)

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True)
class Digest:
    """What one read of a segment finds: its lines, and whether its bytes are the ones that were sealed.

    `intact` is False when the bytes differ from the `.sha256` file, or when there is none: then only its CRCs speak for a line.
    """

    lines: int
    sha256: str
    intact: bool


def sealed_segments(data: DataDirectory) -> list[Segment]:
    """All sealed segments, by writer and sequence. A segment present both plain and compressed is listed once."""
    found: dict[tuple[str, int], Segment] = {}
    for path in files_of(data.log):
        name = parse_segment(path.name)
        if name is not None:
            found.setdefault((name.writer, name.sequence), Segment(name, path))
    return [found[key] for key in sorted(found)]


def files_of(directory: Path) -> list[Path]:
    """What is in a directory, by name; nothing when there is none. Raises OSError when it cannot be listed.

    Not glob: it takes a directory that may not be read for an empty one, and a sequence number would be used again.
    """
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def active_segments(data: DataDirectory) -> dict[str, Path]:
    """Active segments by writer, whether their writer lives or not."""
    found = ((parse_active(path.name), path) for path in files_of(data.log))
    return {writer: path for writer, path in found if writer is not None}


def open_segment(path: Path) -> BinaryIO:
    """Open a segment for reading as the lines that were written, compressed or not."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def digest(segment: Segment) -> Digest:
    """Read a segment once: count its lines and compare it with its `.sha256`. Raises OSError when it cannot be read."""
    sha256 = hashlib.sha256()
    lines = 0
    torn = False
    try:
        for block in _blocks(segment.path, _BLOCK):
            sha256.update(block)
            lines += block.count(b"\n")
            torn = not block.endswith(b"\n")
    except (gzip.BadGzipFile, EOFError):
        return Digest(lines, "", intact=False)
    found = sha256.hexdigest()
    return Digest(lines + torn, found, intact=found == recorded_sha256(segment.checksum))


def recorded_sha256(checksum: Path) -> str | None:
    """The hash in a `sha256sum -c` file, or None when there is no such file or it holds none."""
    try:
        word = checksum.read_text("ascii").partition(" ")[0]
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return word if len(word) == 64 else None


def sha256_line(digest: str, file: str) -> bytes:
    """The content of a `.sha256` file."""
    return f"{digest}  {file}\n".encode("ascii")


def count_lines(path: Path) -> int:
    """Complete lines in a file that may still grow; in a damaged compressed one, those that can be read."""
    lines = 0
    try:
        for block in _blocks(path, _BLOCK):
            lines += block.count(b"\n")
    except (gzip.BadGzipFile, EOFError):
        return lines
    return lines


def salvage(path: Path) -> Iterator[bytes]:
    """The lines of a segment that may be damaged. Raises BadGzipFile or EOFError after the last one that can be read."""
    if path.suffix != ".gz":
        with path.open("rb") as file:
            yield from lines_of(file)
        return
    rest = b""
    try:
        for block in _blocks(path, _SALVAGE_BLOCK):
            *whole, rest = (rest + block).split(b"\n")
            yield from (line + b"\n" for line in whole)
            if len(rest) > PIECE_MAX_BYTES:
                yield rest
                rest = b""
    except (gzip.BadGzipFile, EOFError):
        if rest:
            yield rest
        raise
    if rest:
        yield rest


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """What a segment holds, inflated. Raises BadGzipFile or EOFError where it cannot be read any further."""
    with path.open("rb") as file:
        if path.suffix == ".gz":
            yield from _inflated(file, size)
            return
        while block := file.read(size):
            yield block


def _inflated(file: BinaryIO, size: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP)
    began = False
    while block := file.read(min(size, _INFLATED_BLOCK)):
        while block:
            if inflater.eof:  # another member, or the zeros with which some programs fill a block
                block, inflater, began = block.lstrip(b"\0"), zlib.decompressobj(_GZIP), False
                continue
            began = True
            try:
                yield inflater.decompress(block)
            except zlib.error as error:
                raise gzip.BadGzipFile(str(error)) from None
            block = inflater.unused_data
    if began and not inflater.eof:
        raise EOFError("the file ends in the middle of compressed data")
