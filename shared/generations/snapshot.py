"""The snapshot: one JSON file that references every part it consists of and every
segment it has folded (P5).

A reader loads only this file (load.py); only the compactor writes it
(compactor/generations/commit.py). docs/formats.md has an example.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from functools import cached_property
from pathlib import Path
from uuid import UUID

import msgspec

from shared.disk.layout import SegmentName
from shared.exit_codes import UsageError
from shared.generations.earlier_formats import as_format_3
from shared.generations.summary import Summary, encode_summary
from shared.segments.line import DataFromNewerVersion
from shared.timestamps import epoch_ms

FORMAT = 3
FORMAT_WITHOUT_SHA256 = 1
# The last format whose counters hold a day in one part, every dimension by quarter.
FORMAT_OF_WHOLE_COUNTERS = 2
EMPTY_TIME = "1970-01-01T00:00:00.000Z"

# The last two lines of the file. The hash covers all lines before them, so `head -n -2
# | sha256sum` computes it.
_END = re.compile(rb' "sha256": "([0-9a-f]{64})"\n}\n')
_END_BYTES = len(b' "sha256": ""\n}\n') + 64


class SnapshotDamaged(UsageError):
    """A snapshot is missing, unreadable or not as it was published: `error` says
    which.
    """

    def __init__(self, path: Path, error: str) -> None:
        super().__init__(path, error)
        self.path, self.error = path, error

    def __str__(self) -> str:
        return f"{self.path} {self.error}"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An immutable Parquet file. Its kind and day follow from its place in the
    snapshot. `version` is that of its columns: 1 until format 2, then 2.
    """

    generation: int
    rows: int
    bytes: int
    sha256: str
    version: int = 1


class FailedMerge(msgspec.Struct, frozen=True, omit_defaults=True):
    """The day merge of a day failed `tries` times, the last time at `at`, with this
    `version` of Foldlog. `given_up`: that was the last try of this version.
    """

    reason: str
    tries: int
    at: str
    version: str
    given_up: bool = False


class VisitsOf(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the visits of a day were made of: the generations of the archive parts of
    the day and of the `following` one.

    `reached` is the digest of the visits of the day before that go on on this one,
    `reaches` that of its own that go on on the following one; empty for none. Visits of
    daily hashes end at the midnights of `zone`. `capped`: sites with few visits are
    counted as `(other)`.
    """

    archive: tuple[int, ...] = ()
    following: tuple[int, ...] = ()
    reached: str = ""
    reaches: str = ""
    zone: str = "UTC"
    capped: bool = False


class Day(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of one UTC day.

    `archive`: deduplicated events, by generation. `ids`: for each archive part the
    index of its ids, of the same generation. `counters`: a count is the sum over all
    of these parts. `sessions`: visits that began on that day, `visits` their sums by
    quarter of an hour, both made as `visits_of` says; None: not made. `yielded`: events
    whose ids another host of the store counts.

    `added_at`: the last fold that added events. `quarters`: dimensions counted by
    quarter of an hour; the others have rows of a day, cut at the midnights of `zone`.
    `uncounted`: dimensions with too many rows, answered from the archive until the day
    merge decides which rows are kept. `capped`: dimensions of which it has counted the
    rest as `(other)`. `merged`: the day merge has written these parts; `merge_failure`:
    it could not. `expired`: retention deleted the archive, or a part of it.
    `visitor_zone`: the time zone of the visitor counts made on expiry.
    """

    added_at: str
    archive: tuple[Part, ...] = ()
    ids: tuple[Part, ...] = ()
    counters: tuple[Part, ...] = ()
    sessions: tuple[Part, ...] = ()
    yielded: tuple[Part, ...] = ()
    visits: tuple[Part, ...] = ()
    visits_of: VisitsOf | None = None
    quarters: tuple[str, ...] = ()
    zone: str = "UTC"
    uncounted: tuple[str, ...] = ()
    capped: tuple[str, ...] = ()
    merged: bool = False
    expired: bool = False
    visitor_zone: str | None = None
    merge_failure: FailedMerge | None = None


class Totals(msgspec.Struct, frozen=True):
    """Every folded line is counted, a duplicate, quarantined, erased or set aside (P8).
    `conflicts` are a part of the duplicates.
    """

    lines: int = 0
    counted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0
    damaged_segments: int = 0
    erased: int = 0
    set_aside: int = 0

    @property
    def accounted(self) -> int:
        """Equal to `lines`, unless lines are lost."""
        return self.counted + self.duplicates + self.quarantined + self.erased + self.set_aside


class LastPass(msgspec.Struct, frozen=True):
    """The work of the pass that published this generation."""

    segments: int = 0
    lines: int = 0
    seconds: float = 0.0


class RetentionHold(msgspec.Struct, frozen=True):
    """A deletion on hold: it would remove most days of a kind, so an operator must
    confirm it.
    """

    days: int
    kept_days: int
    bytes: int
    first: date
    last: date


class Retention(msgspec.Struct, frozen=True):
    """The last retention run. `skipped` is the reason if it was skipped.

    `clock_suspect_since`: when the clock jumped; None once it has been steady for long
    enough. `succeeded_at`: the last run that was not skipped and put nothing on hold
    (None: published by a release that did not record it). By kind: `on_hold`, deletions
    on hold, and `over_limit`, bytes above the limit that no run may delete.
    """

    at: str = EMPTY_TIME
    segments: int = 0
    archive_days: int = 0
    counter_days: int = 0
    skipped: str | None = None
    clock_suspect_since: str | None = None
    succeeded_at: str | None = None
    on_hold: dict[str, RetentionHold] = {}
    over_limit: dict[str, int] = {}

    @property
    def last_success(self) -> str:
        return self.succeeded_at or self.at

    @property
    def unsuccessful_s(self) -> float:
        """Seconds from the last success to the last run, counted from the last jump of
        the clock: a jump is no elapsed time.
        """
        since = max(self.last_success, self.clock_suspect_since or "")
        return max(0.0, (epoch_ms(self.at) - epoch_ms(since)) / 1000)


class SetAside(msgspec.Struct, frozen=True):
    """Lines of a segment that could not be folded: those within `bytes` bytes from
    `start` of its plain lines, all of them or those of one UTC day. They stay in the
    log. `segment` is its name without a suffix, `tries` how often a pass failed on
    them, `version` the Foldlog that did.
    """

    segment: str
    day: date | None
    lines: int
    bytes: int
    reason: str
    tries: int
    start: int = 0
    version: str = ""


class Absorbed(msgspec.Struct, frozen=True):
    """A retired instance of the store whose events are among those of this directory
    since: its last generation, and how many events it counted. Its lines, duplicates
    and the rest are in the totals.
    """

    instance: UUID
    generation: int
    as_of: str
    events: int


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """One generation. By writer: `folded`, the highest folded sequence number, and
    `missing`, the lower ones that are missing.

    `partial`: how many bytes of a segment are folded, by its name without a suffix, of
    segments of which a pass folded the beginning. `set_aside`: what cannot be folded.
    `dropped_days`: days whose data is all deleted, with the number of their events.
    `summary`: None where it could not be made. `absorbed`: left out where it is empty.
    """

    format: int = FORMAT
    generation: int = 0
    as_of: str = EMPTY_TIME
    folded: dict[str, int] = {}
    missing: dict[str, tuple[int, ...]] = {}
    partial: dict[str, int] = {}
    set_aside: tuple[SetAside, ...] = ()
    totals: Totals = Totals()
    days: dict[date, Day] = {}
    last_pass: LastPass = LastPass()
    retention: Retention = Retention()
    dropped_days: dict[date, int] = {}
    absorbed: tuple[Absorbed, ...] | msgspec.UnsetType = msgspec.UNSET
    summary: Summary | None = None

    @property
    def absorbed_instances(self) -> tuple[Absorbed, ...]:
        return self.absorbed or ()

    def has_passed(self, name: SegmentName) -> bool:
        """Whether each line of a segment is folded or set aside."""
        return (
            name.sequence <= self.folded.get(name.writer, 0)
            and name.sequence not in self.missing.get(name.writer, ())
            and not (self.partial and name.stem in self.partial)
        )

    def has_folded(self, name: SegmentName) -> bool:
        """Whether each line of a segment is folded, so that the log may lose it."""
        return self.has_passed(name) and not (self.set_aside and name.stem in self._set_aside_segments)

    def unmerged_days(self) -> list[date]:
        """Days whose merge has failed, and is not tried again soon."""
        return [day for day, kept in self.days.items() if kept.merge_failure and kept.merge_failure.given_up]

    @cached_property
    def _set_aside_segments(self) -> frozenset[str]:
        return frozenset(entry.segment for entry in self.set_aside)


class _Format(msgspec.Struct):
    format: int


_DECODER = msgspec.json.Decoder(Snapshot)
_FORMAT_DECODER = msgspec.json.Decoder(_Format)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The file, indented, with the summary in a line of its own: a number on each line
    would make it many times as long.
    """
    without = msgspec.structs.replace(snapshot, format=FORMAT, summary=None)
    text = msgspec.json.format(msgspec.json.encode(without), indent=1)
    summary = b"null" if snapshot.summary is None else encode_summary(snapshot.summary)
    head = text.removesuffix(b"null\n}") + summary + b",\n"
    return b'%b "sha256": "%b"\n}\n' % (head, hashlib.sha256(head).hexdigest().encode("ascii"))


def decode_snapshot(content: bytes, path: Path) -> Snapshot:
    """The snapshot in a file; `path` is for errors. Raises DataFromNewerVersion and
    SnapshotDamaged.

    Every format since 2 ends with its sha256, which distinguishes a file of a newer
    Foldlog from a damaged one.
    """
    try:
        found = _FORMAT_DECODER.decode(content).format
        has_checksum = _has_valid_checksum(content)
        if found > FORMAT:
            raise DataFromNewerVersion(str(path), "format", found, FORMAT)
        if not has_checksum and found != FORMAT_WITHOUT_SHA256:
            raise ValueError("it does not end with its sha256")
        return _from_earlier_format(content) if found <= FORMAT_OF_WHOLE_COUNTERS else _DECODER.decode(content)
    except (msgspec.DecodeError, ValueError) as error:
        raise SnapshotDamaged(path, f"is damaged: {error}") from None


def _from_earlier_format(content: bytes) -> Snapshot:
    return _DECODER.decode(msgspec.json.encode(as_format_3(msgspec.json.decode(content))))


def _has_valid_checksum(content: bytes) -> bool:
    """Whether the file ends with the sha256 of its bytes; False if with none. Raises
    ValueError for another one.
    """
    end = _END.fullmatch(content, max(0, len(content) - _END_BYTES))
    if end is not None and hashlib.sha256(content[: end.start()]).hexdigest().encode("ascii") != end[1]:
        raise ValueError("its bytes do not match its sha256")
    return end is not None
