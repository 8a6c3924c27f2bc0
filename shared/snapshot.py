"""The snapshot: one JSON file that names every part it is made of and every segment that it has folded (P5).

Loading it is all that a reader needs; only the compactor makes one (compactor/commit.py). docs/formats.md has an example.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec

from shared.layout import DataDirectory
from shared.line import DataFromNewerVersion

FORMAT = 1
EMPTY_TIME = "1970-01-01T00:00:00.000Z"


class SnapshotDamaged(Exception):
    """snapshot.json is there but cannot be read as one. Says what to do next."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An immutable Parquet file; kind and day are where it stands in the snapshot."""

    generation: int
    rows: int
    bytes: int
    sha256: str


class Day(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of one UTC day.

    `archive` are the deduplicated events, by generation; `counters` the counts as of the newest. `added_at` is the last fold
    that added to the day. `expired` is true once retention took its archive (or part of it). `capped` names the dimensions
    of which some values are counted under `(other)`. `visitor_zone` is the time zone of the visitor days kept on expiry.
    """

    added_at: str
    archive: tuple[Part, ...] = ()
    counters: Part | None = None
    expired: bool = False
    capped: tuple[str, ...] = ()
    visitor_zone: str | None = None


class Totals(msgspec.Struct, frozen=True):
    """Every line ever folded is one of counted, duplicates and quarantined (P8). `conflicts` are among the duplicates."""

    lines: int = 0
    counted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0
    damaged_segments: int = 0


class LastPass(msgspec.Struct, frozen=True):
    """What the pass that made this generation did."""

    segments: int = 0
    lines: int = 0
    seconds: float = 0.0


class Retention(msgspec.Struct, frozen=True):
    """The last retention run. `skipped` says why it deleted nothing when it might have."""

    at: str = EMPTY_TIME
    segments: int = 0
    archive_days: int = 0
    counter_days: int = 0
    skipped: str | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """One generation. `folded` is the highest folded sequence per writer, `waiting` the lower ones that are not folded."""

    format: int = FORMAT
    generation: int = 0
    as_of: str = EMPTY_TIME
    folded: dict[str, int] = {}
    waiting: dict[str, tuple[int, ...]] = {}
    totals: Totals = Totals()
    days: dict[date, Day] = {}
    last_pass: LastPass = LastPass()
    retention: Retention = Retention()

    def has_folded(self, writer: str, sequence: int) -> bool:
        return sequence <= self.folded.get(writer, 0) and sequence not in self.waiting.get(writer, ())


class _Format(msgspec.Struct):
    format: int


_DECODER = msgspec.json.Decoder(Snapshot)
_FORMAT_DECODER = msgspec.json.Decoder(_Format)


def encode(snapshot: Snapshot) -> bytes:
    return msgspec.json.format(msgspec.json.encode(snapshot), indent=1) + b"\n"


def decode(content: bytes, path: Path) -> Snapshot:
    """Raises DataFromNewerVersion and SnapshotDamaged."""
    try:
        found = _FORMAT_DECODER.decode(content).format
        if found > FORMAT:
            raise DataFromNewerVersion(
                f"{path} has format {found}; this Foldlog reads up to {FORMAT}. Install a newer one; nothing was changed."
            )
        return _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotDamaged(
            f"{path} cannot be read ({error}). The previous ones are kept beside it: move it away, copy the newest "
            "snapshot.<generation>.json to snapshot.json, and start again; what that one has not folded is folded again."
        ) from None


def load(data: DataDirectory) -> Snapshot:
    """The published snapshot, or generation 0 where there is none yet."""
    try:
        content = data.snapshot.read_bytes()
    except FileNotFoundError:
        return Snapshot()
    return decode(content, data.snapshot)
