"""The sealed segments of the log: list them, read them, check them. Plain or gzip, a reader cannot tell."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from shared.layout import DataDirectory, SegmentName, parse_active, parse_segment

_BLOCK = 1 << 20


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
    for path in sorted(data.log.glob("*.ndjson*")):
        name = parse_segment(path.name)
        if name is not None:
            found.setdefault((name.writer, name.sequence), Segment(name, path))
    return [found[key] for key in sorted(found)]


def active_segments(data: DataDirectory) -> dict[str, Path]:
    """Active segments by writer, whether their writer lives or not."""
    found = ((parse_active(path.name), path) for path in sorted(data.log.glob("active-*.ndjson")))
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
        with open_segment(segment.path) as file:
            while block := file.read(_BLOCK):
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
    """Complete lines in a file that may still grow."""
    with open_segment(path) as file:
        return sum(block.count(b"\n") for block in _blocks(file))


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block
