"""Every file name in the data directory is made and parsed here, and nowhere else.
docs/formats.md is the contract.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

IMPORT_WRITER = "import"
# Of what is found and has no living writer of its own: numbers of others are in their
# writers' memory.
ROTATED_WRITER = "adopted"

_WRITER = r"[a-z0-9_]{1,32}"
_ACTIVE = re.compile(rf"active-({_WRITER})\.ndjson")
_SEALED = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({_WRITER})-(\d{{10}})\.ndjson(\.gz|\.zst)?")
# What logrotate and people make of an active segment: a name that goes on, or one with
# something before `.ndjson`.
_STRAY = re.compile(rf"active-({_WRITER})(?:\.ndjson.+|[-.].+\.ndjson(?:\.\w+)?)")
_SHA256 = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({_WRITER})-(\d{{10}})\.sha256")
_TEMPORARY = re.compile(r"\.(.+)\.\d+\.\d+\.tmp")
_PART = re.compile(r"g(\d{10})\.parquet")
_ERASURE_REQUEST = re.compile(r"erase-([0-9a-f]{16})\.json")
_SNAPSHOT = re.compile(r"snapshot\.(\d+)\.json")
_STAMP = "%Y%m%dT%H%M%SZ"

TEMPORARY_SUFFIX = ".tmp"
PACKED_SUFFIXES = (".gz", ".zst")
# Ends the name of a backup that is not whole yet.
PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True, order=True)
class SegmentName:
    """A sealed segment: who wrote it, its place in that writer's sequence, when it was
    sealed (UTC, to the second).
    """

    writer: str
    sequence: int
    sealed_at: datetime

    @property
    def stem(self) -> str:
        return f"{self.sealed_at.strftime(_STAMP)}-{self.writer}-{self.sequence:010d}"

    @property
    def file(self) -> str:
        return f"{self.stem}.ndjson"

    def packed(self, suffix: str) -> str:
        """The name of the same segment when it is compressed: `suffix` is one of
        PACKED_SUFFIXES.
        """
        return f"{self.file}{suffix}"

    @property
    def checksum(self) -> str:
        return f"{self.stem}.sha256"


def parse_segment(file: str) -> SegmentName | None:
    """The name of a sealed segment (plain or compressed), or None for any other
    file.
    """
    return _segment(_SEALED.fullmatch(file))


def parse_checksum(file: str) -> SegmentName | None:
    """The segment that a `.sha256` file speaks of, or None for any other file."""
    return _segment(_SHA256.fullmatch(file))


def _segment(match: re.Match[str] | None) -> SegmentName | None:
    if match is None:
        return None
    try:
        sealed_at = datetime.fromisoformat(match[1])  # strptime takes forty times as long
    except ValueError:
        return None
    return SegmentName(match[2], int(match[3]), sealed_at)


def parse_active(file: str) -> str | None:
    """The writer of an active segment, or None for any other file."""
    match = _ACTIVE.fullmatch(file)
    return match[1] if match else None


def parse_temporary(file: str) -> str | None:
    """The name under which a file that is being made will be published, or None for any
    other file.
    """
    match = _TEMPORARY.fullmatch(file)
    return match[1] if match else None


def parse_rotated(file: str) -> str | None:
    """The writer whose active segment was renamed to this, or copied, as logrotate does
    it; None for any other file.
    """
    match = _STRAY.fullmatch(file)
    return match[1] if match else None


def parse_part(file: str) -> int | None:
    """The generation that made a part, or None for any other file."""
    match = _PART.fullmatch(file)
    return int(match[1]) if match else None


def parse_day(folder: str) -> date | None:
    """The UTC day of a folder of parts, or None for any other folder."""
    try:
        return date.fromisoformat(folder) if len(folder) == 10 else None
    except ValueError:
        return None


def parse_kept_snapshot(file: str) -> int | None:
    """The generation of a kept snapshot, or None for any other file."""
    match = _SNAPSHOT.fullmatch(file)
    return int(match[1]) if match else None


def parse_erasure_request(file: str) -> str | None:
    """The id of a request to erase a visitor, or None for any other file."""
    match = _ERASURE_REQUEST.fullmatch(file)
    return match[1] if match else None


@dataclass(frozen=True)
class DataDirectory:
    """Where everything is. Holds no state and touches no file."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def counters(self) -> Path:
        return self.root / "counters"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    def set_aside(self, name: str) -> Path:
        """Where a damaged file is kept, so that replacing it loses nothing. `name` says
        which file it was.
        """
        return self.quarantine / f"damaged-{name}"

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def spill(self) -> Path:
        """Where the fold puts what does not fit into memory. Empty between passes."""
        return self.root / "spill"

    @property
    def snapshot(self) -> Path:
        return self.root / "snapshot.json"

    def kept_snapshot(self, generation: int) -> Path:
        return self.root / f"snapshot.{generation}.json"

    def records(self) -> tuple[Path, ...]:
        """Files beside the snapshots that tell what was done here, and that a backup
        takes along.
        """
        return (self.erasures,)

    @property
    def compact_lock(self) -> Path:
        return self.root / "compact.lock"

    @property
    def serve_lock(self) -> Path:
        return self.root / "serve.lock"

    def probe(self, number: int) -> Path:
        """There for a moment, while `foldlog doctor` tries what the file system
        does.
        """
        return self.root / f"doctor-{number}.probe"

    @property
    def seal_request(self) -> Path:
        """Published anew by whoever wants the writers to seal; they watch its
        modification time.
        """
        return self.root / "seal.request"

    @property
    def fold_request(self) -> Path:
        """Published anew by whoever wants a fold now; the compactor watches its
        modification time.
        """
        return self.root / "fold.request"

    @property
    def tokens(self) -> Path:
        return self.private / "tokens.json"

    @property
    def salt(self) -> Path:
        return self.private / "salt.json"

    @property
    def salt_lock(self) -> Path:
        return self.private / "salt.lock"

    @property
    def one_address(self) -> Path:
        """There while every request seems to come from one address."""
        return self.private / "one-address.json"

    def erasure_request(self, request: str) -> Path:
        """A request to erase one visitor; there until nothing holds the visitor any
        more.
        """
        return self.private / f"erase-{request}.json"

    @property
    def erasures(self) -> Path:
        """What was erased: counts and hashes, a line when it began and a line when it
        was done.
        """
        return self.root / "erasures.ndjson"

    @property
    def run(self) -> Path:
        """Sockets of the running workers. Nothing in it outlives them."""
        return self.root / "run"

    def socket(self, writer: str) -> Path:
        return self.run / f"{writer}.sock"

    def active(self, writer: str) -> Path:
        if not re.fullmatch(_WRITER, writer):
            raise ValueError(f"a writer is named with a-z, 0-9 and _, not {writer!r}")
        return self.log / f"active-{writer}.ndjson"

    def part(self, kind: str, day: date, generation: int) -> Path:
        """`kind` is `archive` or `counters`."""
        return self.root / kind / day.isoformat() / f"g{generation:010d}.parquet"
