"""The snapshot: one JSON file that names every part it is made of and every segment
that it has folded (P5).

Loading it is all that a reader needs; only the compactor makes one
(compactor/generations/commit.py). docs/formats.md has an example. When it is damaged or
gone, the newest kept one that is whole takes its place: an older truth, never a made-up
one.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from pathlib import Path

import msgspec

from shared.disk.layout import SegmentName
from shared.exit_codes import UsageError
from shared.segments.line import DataFromNewerVersion
from shared.timestamps import epoch_ms

FORMAT = 2
FORMAT_WITHOUT_SHA256 = 1
EMPTY_TIME = "1970-01-01T00:00:00.000Z"

# The last two lines of the file; the hash is of all lines before them, so that `head -n
# -2 | sha256sum` gives it.
_END = re.compile(rb' "sha256": "([0-9a-f]{64})"\n}\n')
_END_BYTES = len(b' "sha256": ""\n}\n') + 64


class SnapshotDamaged(UsageError):
    """A snapshot is there but is not what was published. Says what to do next."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An immutable Parquet file; kind and day are where it stands in the snapshot."""

    generation: int
    rows: int
    bytes: int
    sha256: str


class Day(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of one UTC day.

    `archive` are the deduplicated events, by generation; `counters` the counts as of
    the newest. `added_at` is the last fold that added to the day. `expired` is true
    once retention took its archive (or part of it). `capped` names the dimensions of
    which some values are counted under `(other)`. `visitor_zone` is the time zone of
    the visitor days kept on expiry.
    """

    added_at: str
    archive: tuple[Part, ...] = ()
    counters: Part | None = None
    expired: bool = False
    capped: tuple[str, ...] = ()
    visitor_zone: str | None = None


class Totals(msgspec.Struct, frozen=True):
    """Every line ever folded is counted, a duplicate, quarantined or erased (P8).
    `conflicts` are among the duplicates.
    """

    lines: int = 0
    counted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0
    damaged_segments: int = 0
    erased: int = 0

    @property
    def accounted(self) -> int:
        """As many as `lines`, or some have disappeared."""
        return self.counted + self.duplicates + self.quarantined + self.erased


class LastPass(msgspec.Struct, frozen=True):
    """What the pass that made this generation did."""

    segments: int = 0
    lines: int = 0
    seconds: float = 0.0


class RetentionHold(msgspec.Struct, frozen=True):
    """What retention would take of a kind, and does not before a person says so: it is
    most of what is kept.
    """

    days: int
    kept_days: int
    bytes: int
    first: date
    last: date


class Retention(msgspec.Struct, frozen=True):
    """The last retention run. `skipped` says why it deleted nothing when it might have.

    `doubted_since` is when the clock jumped, until it has been steady for long enough
    to be believed again. `succeeded_at` is the last run that was neither skipped nor
    held anything back (None: a release that did not say). `held` and `over_limit` are
    by kind: what waits for a person, and the bytes above a limit that no run may take.
    """

    at: str = EMPTY_TIME
    segments: int = 0
    archive_days: int = 0
    counter_days: int = 0
    skipped: str | None = None
    doubted_since: str | None = None
    succeeded_at: str | None = None
    held: dict[str, RetentionHold] = {}
    over_limit: dict[str, int] = {}

    @property
    def last_success(self) -> str:
        return self.succeeded_at or self.at

    @property
    def unsuccessful_s(self) -> float:
        """Seconds from the last success to the last run. A jump of the clock begins
        them anew: it is no time that passed.
        """
        since = max(self.last_success, self.doubted_since or "")
        return max(0.0, (epoch_ms(self.at) - epoch_ms(since)) / 1000)


class Snapshot(msgspec.Struct, frozen=True):
    """One generation. `folded` is the highest folded sequence per writer, `waiting` the
    lower ones that are not folded.

    `forgotten` are the days of which nothing is kept, each with the events that were
    counted on it.
    """

    format: int = FORMAT
    generation: int = 0
    as_of: str = EMPTY_TIME
    folded: dict[str, int] = {}
    waiting: dict[str, tuple[int, ...]] = {}
    totals: Totals = Totals()
    days: dict[date, Day] = {}
    last_pass: LastPass = LastPass()
    retention: Retention = Retention()
    forgotten: dict[date, int] = {}

    def has_folded(self, name: SegmentName) -> bool:
        return name.sequence <= self.folded.get(name.writer, 0) and name.sequence not in self.waiting.get(
            name.writer, ()
        )


class _Format(msgspec.Struct):
    format: int


_DECODER = msgspec.json.Decoder(Snapshot)
_FORMAT_DECODER = msgspec.json.Decoder(_Format)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    text = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(snapshot, format=FORMAT)), indent=1)
    head = text.removesuffix(b"\n}") + b",\n"
    return b'%b "sha256": "%b"\n}\n' % (head, hashlib.sha256(head).hexdigest().encode("ascii"))


def decode_snapshot(content: bytes, path: Path) -> Snapshot:
    """Raises DataFromNewerVersion and SnapshotDamaged.

    Every format from 2 on ends with its sha256, so that a file of a newer Foldlog can
    be told from a damaged one.
    """
    try:
        found = _FORMAT_DECODER.decode(content).format
        is_sealed = _is_sealed(content)
        if found > FORMAT:
            raise DataFromNewerVersion(
                f"{path} was made by a newer Foldlog (format {found}; this one reads up to {FORMAT}). Install that one; "
                "nothing was changed."
            )
        if not is_sealed and found != FORMAT_WITHOUT_SHA256:
            raise ValueError("it does not end with its sha256")
        return _DECODER.decode(content)
    except (msgspec.DecodeError, ValueError) as error:
        raise SnapshotDamaged(f"{path} is damaged: {error}") from None


def _is_sealed(content: bytes) -> bool:
    """Whether the file ends with a sha256. Raises ValueError when that is not the one
    of its bytes.
    """
    end = _END.fullmatch(content, max(0, len(content) - _END_BYTES))
    if end is not None and hashlib.sha256(content[: end.start()]).hexdigest().encode("ascii") != end[1]:
        raise ValueError("its bytes do not match its sha256")
    return end is not None
