"""Whether a part is the file that the snapshot references.

Every reader compares a part with its sha256 first: Parquet has no checksum of its own,
and a flipped bit would change a number in a report, or be written into the next part
under a new sha256.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.snapshot import Part

# What changes when a file is replaced or written to: inode, length, mtime, ctime.
FileIdentity = tuple[int, int, int, int]
_VERIFIED_MAX = 1 << 16
_verified: dict[Path, tuple[FileIdentity, str]] = {}


@dataclass(frozen=True)
class PartError:
    """Why a part is not intact. `found` is the sha256 of its bytes, or the error of the
    disk.
    """

    problem: Literal["missing", "unreadable", "changed"]
    found: str = ""

    def __str__(self) -> str:
        if self.problem == "missing":
            return "is missing"
        if self.problem == "unreadable":
            return f"cannot be read: {self.found}"
        return "differs from its sha256 in the snapshot"


class PartDamaged(UsageError):
    """A referenced part is not intact."""

    def __init__(self, path: Path, day: date, error: PartError, expected: str) -> None:
        super().__init__(path, day, error, expected)
        self.path, self.day, self.error, self.expected = path, day, error, expected

    def __str__(self) -> str:
        return (
            f"{self.path} {self.error}. Restore it from a backup, or run `foldlog rebuild`: it makes the part again of "
            "what the retained log holds, and reports what is lost."
        )


def verified_part(data: DataDirectory, kind: str, day: date, part: Part) -> Path:
    """The path of a part, once its bytes match the sha256 in the snapshot. Raises
    PartDamaged.

    A process reads a file for this once, so that the cost of a pass does not grow with
    history.
    """
    path = data.part(kind, day, part.generation)
    try:
        is_verified = _verified.get(path) == (file_identity(path), part.sha256)
    except FileNotFoundError:
        is_verified = False
    if not is_verified and (error := part_error(path, part)):
        raise PartDamaged(path, day, error, part.sha256)
    return path


def verified_parts(data: DataDirectory, kind: str, day: date, parts: Iterable[Part]) -> list[Path]:
    """As `verified_part`, for several."""
    return [verified_part(data, kind, day, part) for part in parts]


def part_error(path: Path, part: Part) -> PartError | None:
    """Read a part from its first to its last byte. Returns why it is not intact; None
    if it is.
    """
    try:
        before = file_identity(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return PartError("missing")
        if error.errno == errno.EIO:
            return PartError("unreadable", error.strerror or "")
        raise
    if sha256 != part.sha256:
        return PartError("changed", sha256)
    if len(_verified) >= _VERIFIED_MAX:
        _verified.clear()
    _verified[path] = (before, sha256)
    return None


def file_identity(path: Path) -> FileIdentity:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
