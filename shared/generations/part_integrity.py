"""Whether a part is the file that the snapshot references.

Every reader compares a part with its sha256 first: Parquet has no checksum of its own,
and a flipped bit would change a number in a report, or be written into the next part
under a new sha256.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from shared.generations.snapshot import Part


class PartDamaged(UsageError):
    """A part is not the file that the snapshot names. Says which, and what to do
    next.
    """


FileIdentity = tuple[int, int, int, int]
_REMEMBERED = 1 << 16
_whole: dict[Path, tuple[FileIdentity, str]] = {}


def verified_part(data: DataDirectory, kind: str, day: date, part: Part) -> Path:
    """The path of a part whose bytes are those that the snapshot names. Raises
    PartDamaged.

    A process reads a file for this once, so that the cost of a pass does not grow with
    history.
    """
    path = data.part(kind, day, part.generation)
    try:
        is_known = _whole.get(path) == (file_identity(path), part.sha256)
    except FileNotFoundError:
        is_known = False
    if not is_known and (flaw := part_error(path, part)):
        raise PartDamaged(
            f"{path} {flaw}. Restore it from a backup, or run `foldlog rebuild`: it makes the part again of what the "
            "retained log holds, and says what is gone."
        )
    return path


def verified_parts(data: DataDirectory, kind: str, day: date, parts: Iterable[Part]) -> list[Path]:
    """As `whole_part`, of several."""
    return [verified_part(data, kind, day, part) for part in parts]


def part_error(path: Path, part: Part) -> str | None:
    """Read a part from its first to its last byte. Returns what is wrong with it, or
    None.
    """
    try:
        before = file_identity(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.EIO}:
            raise
        return "is gone" if error.errno == errno.ENOENT else f"cannot be read: {error.strerror}"
    if sha256 != part.sha256:
        return "differs from its sha256 in the snapshot"
    if len(_whole) >= _REMEMBERED:
        _whole.clear()
    _whole[path] = (before, sha256)
    return None


def file_identity(path: Path) -> FileIdentity:
    """What changes when a file is replaced or written to."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
