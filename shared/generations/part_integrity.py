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

from shared.disk.file_identity import FileIdentity, file_identity
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.checked_parts import record_checked, was_checked
from shared.generations.snapshot import Part

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

    A process reads a file for this once, and not if another of this host has, so that
    neither a pass nor the first report after a start costs what history does.
    """
    path = data.part(kind, day, part.generation)
    if _is_known(data, path, part):
        return path
    if error := part_error(path, part):
        raise PartDamaged(path, day, error, part.sha256)
    record_checked(data, path, *_verified[path])
    return path


def record_written(data: DataDirectory, path: Path, part: Part) -> None:
    """Note that this process has just published a part, and knows its bytes."""
    identity = file_identity(path)
    _remember(path, identity, part.sha256)
    record_checked(data, path, identity, part.sha256)


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
    _remember(path, before, sha256)
    return None


def _is_known(data: DataDirectory, path: Path, part: Part) -> bool:
    try:
        identity = file_identity(path)
    except FileNotFoundError:
        return False
    if _verified.get(path) == (identity, part.sha256):
        return True
    if not was_checked(data, path, identity, part.sha256):
        return False
    _remember(path, identity, part.sha256)
    return True


def _remember(path: Path, identity: FileIdentity, sha256: str) -> None:
    if len(_verified) >= _VERIFIED_MAX:
        _verified.clear()
    _verified[path] = (identity, sha256)
