"""Every file name in the data directory is built and parsed here, and nowhere else.
docs/formats.md is the contract.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

IMPORT_WRITER = "import"
# Recovered files get a writer of their own: the next sequence number of a live writer
# exists only in its memory.
ROTATED_WRITER = "rotated"

_WRITER = r"[a-z0-9_]{1,32}"
_ACTIVE = re.compile(rf"active-({_WRITER})\.ndjson")
_SEALED = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({_WRITER})-(\d{{10}})\.ndjson(\.gz|\.zst)?")
# How logrotate and operators rename or copy an active segment: with a suffix, or with
# an insertion before `.ndjson`.
_ROTATED = re.compile(rf"active-({_WRITER})(?:\.ndjson.+|[-.].+\.ndjson(?:\.\w+)?)")
_SHA256 = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({_WRITER})-(\d{{10}})\.sha256")
_TEMP = re.compile(r"\.(.+)\.\d+\.\d+\.tmp")
_PART = re.compile(r"g(\d{10})\.parquet")
_HOST_PART = re.compile(r"([0-9a-f]{64})\.parquet")
_ERASURE_REQUEST = re.compile(r"erase-([0-9a-f]{16})\.json")
_ERASURE_ORDER = re.compile(r"order-([0-9a-f]{16})\.json")
_CONFIRMED_HOLD = re.compile(
    r"confirm-(log|archive|counters)-(\d{4}-\d\d-\d\d)-(\d{4}-\d\d-\d\d)-(\d{1,9})\.json", re.ASCII
)
_SNAPSHOT = re.compile(r"snapshot\.(\d+)\.json")
_STAMP = "%Y%m%dT%H%M%SZ"

TEMP_SUFFIX = ".tmp"
COMPRESSED_SUFFIXES = (".gz", ".zst")
# Suffix of a backup that is not complete yet.
PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True, order=True)
class SegmentName:
    """A sealed segment: its writer, its number in that writer's sequence, the time of
    sealing (UTC, whole seconds).
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

    def compressed(self, suffix: str) -> str:
        """The file of the compressed segment; `suffix` is one of
        COMPRESSED_SUFFIXES.
        """
        return f"{self.file}{suffix}"

    @property
    def checksum(self) -> str:
        return f"{self.stem}.sha256"


@dataclass(frozen=True, order=True)
class ConfirmedHold:
    """A deletion on hold, as it was confirmed: of a kind `days` UTC days, from `first`
    to `last`.
    """

    kind: str
    first: date
    last: date
    days: int

    @property
    def file(self) -> str:
        return f"confirm-{self.kind}-{self.first}-{self.last}-{self.days}.json"

    def covers(self, kind: str, first: date, last: date, days: int) -> bool:
        """Whether a deletion is within what was confirmed."""
        return kind == self.kind and self.first <= first and last <= self.last and days <= self.days


def parse_confirmed_hold(file: str) -> ConfirmedHold | None:
    """The hold that a file confirms; None for any other file."""
    match = _CONFIRMED_HOLD.fullmatch(file)
    first, last = (parse_day(match[2]), parse_day(match[3])) if match else (None, None)
    return ConfirmedHold(match[1], first, last, int(match[4])) if match and first and last else None


def parse_segment(file: str) -> SegmentName | None:
    """The name of a sealed segment, plain or compressed; None for any other file."""
    return _segment(_SEALED.fullmatch(file))


def parse_checksum(file: str) -> SegmentName | None:
    """The segment that a `.sha256` file belongs to; None for any other file."""
    return _segment(_SHA256.fullmatch(file))


def _segment(match: re.Match[str] | None) -> SegmentName | None:
    if match is None:
        return None
    try:
        sealed_at = datetime.fromisoformat(match[1])  # strptime is forty times slower
    except ValueError:
        return None
    return SegmentName(match[2], int(match[3]), sealed_at)


def parse_active(file: str) -> str | None:
    """The writer of an active segment; None for any other file."""
    match = _ACTIVE.fullmatch(file)
    return match[1] if match else None


def parse_temp(file: str) -> str | None:
    """The file that a temporary file will be renamed to; None for any other file."""
    match = _TEMP.fullmatch(file)
    return match[1] if match else None


def parse_rotated(file: str) -> str | None:
    """The writer whose active segment logrotate renamed or copied to this file; None
    for any other file.
    """
    match = _ROTATED.fullmatch(file)
    return match[1] if match else None


def parse_part(file: str) -> int | None:
    """The generation that wrote a part; None for any other file."""
    match = _PART.fullmatch(file)
    return int(match[1]) if match else None


def parse_day(folder: str) -> date | None:
    """The UTC day of a folder of parts; None for any other folder."""
    try:
        return date.fromisoformat(folder) if len(folder) == 10 else None
    except ValueError:
        return None


def host_part_name(sha256: str) -> str:
    return f"{sha256}.parquet"


def parse_host_part(file: str) -> str | None:
    """The sha256 of a part of another host; None for any other file."""
    match = _HOST_PART.fullmatch(file)
    return match[1] if match else None


def parse_kept_snapshot(file: str) -> int | None:
    """The generation of a kept snapshot; None for any other file."""
    match = _SNAPSHOT.fullmatch(file)
    return int(match[1]) if match else None


def parse_erasure_request(file: str) -> str | None:
    """The id of an erasure request; None for any other file."""
    match = _ERASURE_REQUEST.fullmatch(file)
    return match[1] if match else None


def parse_erasure_order(file: str) -> str | None:
    """The id of the request that an order is about; None for any other file."""
    match = _ERASURE_ORDER.fullmatch(file)
    return match[1] if match else None


# The folders of parts; a day of the snapshot has a field for each.
PART_KINDS = ("archive", "ids", "counters", "sessions", "yielded", "visits")


@dataclass(frozen=True)
class DataDirectory:
    """The paths in a data directory. Accesses no file."""

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
    def part_folders(self) -> tuple[Path, ...]:
        """In the order of PART_KINDS."""
        return tuple(self.root / kind for kind in PART_KINDS)

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    def damaged_copy(self, name: str) -> Path:
        """Where the damaged file `name` is kept when it is replaced."""
        return self.quarantine / f"damaged-{name}"

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def spill(self) -> Path:
        """Working files of a pass; empty between passes."""
        return self.root / "spill"

    @property
    def report_spill(self) -> Path:
        """A directory for each running reader process, for what exceeds its memory."""
        return self.root / "spill-reports"

    @property
    def restoring(self) -> DataDirectory:
        """The published generation, before it is put in place here. Not a part of a
        backup.
        """
        return DataDirectory(self.root / "restoring")

    @property
    def restore_plan(self) -> Path:
        """What is left to do with it."""
        return self.root / "restore.json"

    @property
    def absorbing(self) -> Path:
        """Which instances of the store this directory has begun to absorb."""
        return self.root / "absorbing.json"

    @property
    def hosts(self) -> Path:
        """Parts of other hosts of the store, for reports over all of them. Each can be
        fetched again: not a part of a backup.
        """
        return self.root / "hosts"

    def host_part(self, sha256: str) -> Path:
        """A part of another host, named by its content."""
        return self.hosts / host_part_name(sha256)

    @property
    def instance(self) -> Path:
        """Who this directory is towards a store. Exists once it has published."""
        return self.root / "instance.json"

    @property
    def snapshot(self) -> Path:
        return self.root / "snapshot.json"

    @property
    def goals(self) -> Path:
        """Goals and saved filters, by name."""
        return self.root / "goals.json"

    @property
    def goals_lock(self) -> Path:
        """Held while goals and saved filters are changed."""
        return self.root / "goals.lock"

    def shared_note(self, document: Path) -> Path:
        """Which version of a document this host has had in common with its store. A
        backup includes it.
        """
        return document.with_suffix(".shared.json")

    def damaged_goals(self, mark: str) -> Path:
        """Where a damaged goals.json is kept when another one is begun."""
        return self.root / f"goals.{mark}.damaged"

    @property
    def annotations(self) -> Path:
        """What people note beside the numbers."""
        return self.root / "annotations.json"

    @property
    def annotations_lock(self) -> Path:
        """Held while annotations are changed."""
        return self.root / "annotations.lock"

    def damaged_annotations(self, mark: str) -> Path:
        """Where a damaged annotations.json is kept when another one is begun."""
        return self.root / f"annotations.{mark}.damaged"

    def kept_snapshot(self, generation: int) -> Path:
        return self.root / f"snapshot.{generation}.json"

    def record_files(self) -> tuple[Path, ...]:
        """Records of operations on this directory, which a backup includes."""
        kept = (each for path in (self.goals, self.annotations) for each in (path, self.shared_note(path)))
        return self.erasures, self.instance, self.store_note, self.absorbing, *kept

    @property
    def compact_lock(self) -> Path:
        return self.root / "compact.lock"

    @property
    def serve_lock(self) -> Path:
        return self.root / "serve.lock"

    def probe(self, number: int) -> Path:
        """Exists only while `foldlog doctor` tests the file system."""
        return self.root / f"doctor-{number}.probe"

    @property
    def seal_request(self) -> Path:
        """Published again to ask the writers to seal; they watch its modification
        time.
        """
        return self.root / "seal.request"

    @property
    def fold_request(self) -> Path:
        """Published again to ask the compactor to fold; it watches the modification
        time.
        """
        return self.root / "fold.request"

    @property
    def tokens(self) -> Path:
        return self.private / "tokens.json"

    @property
    def tokens_lock(self) -> Path:
        """Held while tokens, or the copy of those that hosts share, are changed."""
        return self.private / "tokens.lock"

    def damaged_tokens(self, mark: str) -> Path:
        """Where a damaged tokens.json is kept when another one is begun. Hashes of
        secrets stay in `private/`.
        """
        return self.private / f"tokens.{mark}.damaged"

    @property
    def shares(self) -> Path:
        """Share links, with hashes of their secrets and passwords."""
        return self.private / "shares.json"

    @property
    def shares_lock(self) -> Path:
        """Held while share links are changed."""
        return self.private / "shares.lock"

    def damaged_shares(self, mark: str) -> Path:
        """Where a damaged shares.json is kept when another one is begun."""
        return self.private / f"shares.{mark}.damaged"

    @property
    def sign_in_code(self) -> Path:
        """The hash of the code that `foldlog demo` printed, until it is used."""
        return self.private / "sign-in-code.json"

    @property
    def store_tokens(self) -> Path:
        """A copy of the tokens that the hosts of a store share."""
        return self.private / "store-tokens.json"

    @property
    def salt(self) -> Path:
        return self.private / "salt.json"

    @property
    def event_key(self) -> Path:
        """The key of the hashes of events in a store that only this host has."""
        return self.private / "event-key"

    @property
    def import_sources(self) -> Path:
        """Which access logs were imported: their names, and keyed fingerprints of how
        they begin.
        """
        return self.private / "import-sources.json"

    @property
    def salt_lock(self) -> Path:
        return self.private / "salt.lock"

    @property
    def own_salt_days(self) -> Path:
        """Days on which this host used a salt that may not be that of all hosts, until
        the store has noted them.
        """
        return self.private / "own-salt-days.json"

    @property
    def salt_store_lock(self) -> Path:
        """Held by the worker that asks the store for salts."""
        return self.private / "salt-store.lock"

    @property
    def undeclared_proxy(self) -> Path:
        """Exists while every request seems to come from one address."""
        return self.private / "one-address.json"

    def erasure_request(self, request: str) -> Path:
        """A request to erase one visitor; deleted once no file contains the
        visitor.
        """
        return self.private / f"erase-{request}.json"

    def erasure_order(self, request: str) -> Path:
        """An erasure that all hosts of the store have to carry out; deleted once this
        one has confirmed it.
        """
        return self.private / f"order-{request}.json"

    def confirmed_hold(self, hold: ConfirmedHold) -> Path:
        """A deletion on hold that an administrator has confirmed; deleted once a pass
        has carried it out, or has found that it fits none.
        """
        return self.private / hold.file

    @property
    def erasures(self) -> Path:
        """The record of erasures: a line at the start of each and one at its end, with
        counts and hashes.
        """
        return self.root / "erasures.ndjson"

    @property
    def run(self) -> Path:
        """Sockets of the running workers, and what a process notes without a sync.
        Not a part of a backup.
        """
        return self.root / "run"

    @property
    def store_note(self) -> Path:
        """What this directory has published and claimed, as far as it knows. A backup
        includes it, so that a restored directory is recognized.
        """
        return self.root / "store.json"

    @property
    def known_claims(self) -> Path:
        """A copy of the claims of all hosts; fetched again if it is deleted."""
        return self.run / "claims.duckdb"

    @property
    def claim_outcome(self) -> Path:
        """Which events the next pass has to yield to other hosts, or to count after
        all. Follows from the claims.
        """
        return self.run / "claim-outcome.parquet"

    @property
    def store_lock(self) -> Path:
        """Held while a generation is published to a store."""
        return self.run / "store.lock"

    @property
    def store_state(self) -> Path:
        """What came of the tries to publish to a store."""
        return self.run / "store-state.json"

    @property
    def doctor_answer(self) -> Path:
        """What the doctor found that a worker ran last, good for a short while."""
        return self.run / "doctor.json"

    @property
    def last_pass(self) -> Path:
        """Its modification time is that of the last pass and of its retention run, also
        if they found nothing.
        """
        return self.run / "last-pass"

    def last_use(self, id_: str) -> Path:
        """Its modification time is when the token or share link of this id was last
        used on this host.
        """
        return self.run / f"used-{id_}"

    @property
    def tries(self) -> Path:
        """How often the fold of a segment has failed."""
        return self.run / "tries.json"

    @property
    def begun(self) -> Path:
        """What a pass is doing: exists only while it does."""
        return self.run / "begun.json"

    def socket(self, writer: str) -> Path:
        return self.run / f"{writer}.sock"

    @property
    def checked_parts(self) -> Path:
        """Which parts processes of this host have checked."""
        return self.run / "checked-parts.ndjson"

    def active(self, writer: str) -> Path:
        if not re.fullmatch(_WRITER, writer):
            raise ValueError(f"the name of a writer consists of a-z, 0-9 and _, not {writer!r}")
        return self.log / f"active-{writer}.ndjson"

    def part(self, kind: str, day: date, generation: int) -> Path:
        """`kind` is one of PART_KINDS."""
        return self.root / kind / day.isoformat() / f"g{generation:010d}.parquet"
