"""What stands in the Parquet parts: the columns that the fold writes and the reports
read. docs/formats.md is the contract.

Whoever reads a part compares it with its sha256 first: Parquet has no checksum of its
own, and a flipped bit would become a wrong number in a report, or go into the next part
under a new sha256.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageProblem
from shared.generations.snapshot import Part

# In the order in which reports show them; each is a column of the archive by the same
# name.
DIMENSIONS = (
    "event",
    "site",
    "path",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "country",
    "language",
    "browser",
    "os",
    "device",
)
# Event and site stand on every row of the counters; each of the others has rows of its
# own.
COUNTED_DIMENSIONS = DIMENSIONS[2:]
TOTAL = "total"
# Ends the name of a dimension on the rows that count a whole UTC day: `bucket` is its
# beginning.
OF_DAY = "/day"
OTHER = "(other)"
BUCKET_S = 15 * 60

ARCHIVE_COLUMNS = {
    "id": "VARCHAR",
    "event": "VARCHAR",
    "time": "TIMESTAMP",
    "received": "TIMESTAMP",
    "site": "VARCHAR",
    "visitor": "VARCHAR",
    "session": "VARCHAR",
    "url": "VARCHAR",
    "referrer_url": "VARCHAR",
    "ua": "VARCHAR",
    "language": "VARCHAR",
    "country": "VARCHAR",
    "consent": "VARCHAR",
    "value": "DOUBLE",
    "props": "VARCHAR",
    "path": "VARCHAR",
    "referrer": "VARCHAR",
    "utm_source": "VARCHAR",
    "utm_medium": "VARCHAR",
    "utm_campaign": "VARCHAR",
    "browser": "VARCHAR",
    "os": "VARCHAR",
    "device": "VARCHAR",
    "bot": "BOOLEAN",
}

# How an event stands in an archive part. What another column says already is not stored
# again: of an id that the server made the time in front, of a URL its path, of a
# referrer its host. shared/sql/archive_events.py converts both ways without loss.
STORED_COLUMNS = {
    "client_id": "VARCHAR",
    "random_id": "BLOB",
    "url_head": "VARCHAR",
    "url_tail": "VARCHAR",
    "referrer_head": "VARCHAR",
    "referrer_tail": "VARCHAR",
    **{name: kind for name, kind in ARCHIVE_COLUMNS.items() if name not in {"id", "url", "referrer_url"}},
}

# `events` of a row: how many in that quarter of an hour. `visitors` is set only on the
# rows that stay when the archive of a day goes: `bucket` is then the beginning of a
# calendar day, and a null site or bot stands for all of them together.
COUNTER_COLUMNS = {
    "bucket": "TIMESTAMP",
    "site": "VARCHAR",
    "bot": "BOOLEAN",
    "event": "VARCHAR",
    "dimension": "VARCHAR",
    "value": "VARCHAR",
    "events": "BIGINT",
    "visitors": "BIGINT",
}


class PartDamaged(UsageProblem):
    """A part is not the file that the snapshot names. Says which, and what to do
    next.
    """


Identity = tuple[int, int, int, int]
_REMEMBERED = 1 << 16
_whole: dict[Path, tuple[Identity, str]] = {}


def whole_part(data: DataDirectory, kind: str, day: date, part: Part) -> Path:
    """The path of a part whose bytes are those that the snapshot names. Raises
    PartDamaged.

    A process reads a file for this once, so that the cost of a pass does not grow with
    history.
    """
    path = data.part(kind, day, part.generation)
    try:
        is_known = _whole.get(path) == (identity(path), part.sha256)
    except FileNotFoundError:
        is_known = False
    if not is_known and (flaw := part_flaw(path, part)):
        raise PartDamaged(
            f"{path} {flaw}. Restore it from a backup, or run `foldlog rebuild`: it makes the part again of what the "
            "retained log holds, and says what is gone."
        )
    return path


def whole_parts(data: DataDirectory, kind: str, day: date, parts: Iterable[Part]) -> list[Path]:
    """As `whole_part`, of several."""
    return [whole_part(data, kind, day, part) for part in parts]


def part_flaw(path: Path, part: Part) -> str | None:
    """Read a part from its first to its last byte. Returns what is wrong with it, or
    None.
    """
    try:
        before = identity(path)
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


def identity(path: Path) -> Identity:
    """What changes when a file is replaced or written to."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
