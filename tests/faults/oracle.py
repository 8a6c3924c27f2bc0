"""The oracle: what was acknowledged to clients, kept outside the server, compared with
the content of the data directory.

A client writes down an id before it sends it (intended) and again after the 200
(acknowledged), in files on no path of the server's. An id is then acknowledged, refused
or unknown. From these files and the bytes of the data directory alone this module says
what was lost, counted twice or made up. It trusts nothing that the server says about
itself, and imports nothing of it: formats are read here a second time, as
docs/formats.md describes them.

The invariants, by the numbers of tests/faults/RESULTS.md:

    I1  every acknowledged id is in a whole line of the log or in the archive
        (after a fold: in the archive)
    I2  no id is in the archive twice
    I3  no id is in the log or in the archive that no client intended to send
    I4  the counters are what the archive holds, counted again
    I5  snapshot.json is whole, no older than it was, and every part that it
        names is there, byte for byte
    I6  no segment is gone that was not folded
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import zstandard

_SEALED = re.compile(r"\d{8}T\d{6}Z-([a-z0-9_]+)-(\d{10})\.ndjson(\.gz|\.zst)?")
_ACTIVE = re.compile(r"active-[a-z0-9_]+\.ndjson")
_CRC = re.compile(rb',"crc":"([0-9a-f]{8})"}\n\Z')
_ID = re.compile(rb'"id":"([A-Za-z0-9_-]+)"')


class Ledger:
    """What one client intended and what was acknowledged to it: two files, a line an
    id, written before and after.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._intended = (directory / f"{name}.intended").open("a", buffering=1)
        self._acknowledged = (directory / f"{name}.acknowledged").open("a", buffering=1)

    def intend(self, ids: Iterable[str]) -> None:
        """To be called before they are sent."""
        self._intended.write("".join(f"{id_}\n" for id_ in ids))
        self._intended.flush()

    def acknowledge(self, ids: Iterable[str]) -> None:
        """To be called after the answer 200, and after nothing else."""
        self._acknowledged.write("".join(f"{id_}\n" for id_ in ids))
        self._acknowledged.flush()

    def close(self) -> None:
        self._intended.close()
        self._acknowledged.close()


def intended(directory: Path) -> set[str]:
    """What all clients with a ledger here may have sent."""
    return set(_words(directory, "*.intended"))


def acknowledged(directory: Path) -> set[str]:
    """What was acknowledged to the clients with a ledger here."""
    return set(_words(directory, "*.acknowledged"))


def _words(directory: Path, pattern: str) -> Iterator[str]:
    for path in directory.glob(pattern):
        # A client that was killed may have left half a line, which is no id.
        yield from path.read_text("ascii").rpartition("\n")[0].split("\n") if path.stat().st_size else ()


@dataclass
class Contents:
    """What is in a data directory: ids by how often, in whole lines of the log and in
    the archive; what is broken.
    """

    logged: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    bad_lines: int = 0
    generation: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Violations:
    """What may not be. Falsy when nothing was found."""

    lost: frozenset[str]
    double: frozenset[str]
    phantom: frozenset[str]
    broken: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.double or self.phantom or self.broken)

    def __str__(self) -> str:
        counts = f"lost {len(self.lost)}, double {len(self.double)}, phantom {len(self.phantom)}"
        examples = sorted(self.lost)[:3] + sorted(self.double)[:3] + sorted(self.phantom)[:3]
        return f"{counts}; {examples}; {list(self.broken)}"


def find_violations(
    root: Path, intended: set[str], acknowledged: set[str], *, folded: bool = False, generation: int = 0
) -> Violations:
    """Hold I1 to I6 against a data directory in which no process works.

    `folded`: everything was folded, so that an acknowledged id must be counted.
    `generation`: the newest that was seen.
    """
    return compare(read_directory(root), intended, acknowledged, folded=folded, generation=generation)


def compare(
    found: Contents, intended: set[str], acknowledged: set[str], *, folded: bool = False, generation: int = 0
) -> Violations:
    """Hold I1 to I6 against the contents of a data directory."""
    kept = set(found.counted) if folded else set(found.counted) | set(found.logged)
    broken = list(found.broken)
    if found.generation < generation:
        broken.append(f"I5: generation {found.generation} after {generation}")
    return Violations(
        lost=frozenset(acknowledged - kept),
        double=frozenset(id_ for id_, times in found.counted.items() if times > 1),
        phantom=frozenset((set(found.counted) | set(found.logged)) - intended),
        broken=tuple(broken),
    )


def read_directory(root: Path) -> Contents:
    """Read a data directory."""
    found = Contents()
    numbers = _read_log(root / "log", found)
    snapshot = _snapshot(root, found)
    found.generation = snapshot.get("generation", 0)
    _check_ledger(snapshot, numbers, found)
    for day, kept in snapshot.get("days", {}).items():
        _check_day(root, day, kept, found)
    return found


def _read_log(log: Path, found: Contents) -> dict[str, set[int]]:
    """Ids of whole lines; returns the sequence numbers of sealed segments by writer."""
    numbers: dict[str, set[int]] = {}
    for path in sorted(log.iterdir()) if log.is_dir() else []:
        sealed = _SEALED.fullmatch(path.name)
        if sealed:
            numbers.setdefault(sealed[1], set()).add(int(sealed[2]))
        elif not _ACTIVE.fullmatch(path.name):
            continue
        for line in _content(path).splitlines(keepends=True):
            id_ = id_of(line)
            if id_ is None:
                found.bad_lines += 1
            else:
                found.logged[id_] += 1
    return numbers


def _content(path: Path) -> bytes:
    """What a whole file of the log holds."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
    return path.read_bytes()


def id_of(line: bytes) -> str | None:
    """The id of a whole line: its newline is there and its CRC-32 holds. None for any
    other.
    """
    crc = _CRC.search(line)
    if crc is None or zlib.crc32(line[: crc.start()]) != int(crc[1], 16):
        return None
    id_ = _ID.search(line)
    return id_[1].decode("ascii") if id_ else None


def _snapshot(root: Path, found: Contents) -> dict[str, Any]:
    try:
        content = (root / "snapshot.json").read_bytes()
    except FileNotFoundError:
        return {}
    try:
        snapshot = json.loads(content)
    except ValueError:
        found.broken.append("I5: snapshot.json is not JSON")
        return {}
    return snapshot if isinstance(snapshot, dict) else {}


def _check_ledger(snapshot: dict[str, Any], numbers: dict[str, set[int]], found: Contents) -> None:
    """I6: beyond what is folded, a writer's numbers have no gap; within it, nothing is
    being waited for.
    """
    folded: dict[str, int] = snapshot.get("folded", {})
    for writer, there in numbers.items():
        unfolded = {number for number in there if number > folded.get(writer, 0)}
        gaps = set(range(folded.get(writer, 0) + 1, max(unfolded, default=0))) - unfolded
        found.broken += [
            f"I6: segment {number} of writer {writer} is gone and was not folded" for number in sorted(gaps)
        ]
    for writer, missing in snapshot.get("missing", {}).items():
        gone = set(missing) - numbers.get(writer, set())
        found.broken += [f"I6: segment {number} of writer {writer} was never folded" for number in sorted(gone)]


def _check_day(root: Path, day: str, kept: dict[str, Any], found: Contents) -> None:
    """I2, I4 and I5 for one day."""
    archive = [_checked(root / "archive" / day, part, found) for part in kept.get("archive", ())]
    rows = [row for part in archive if part for row in _events(part)]
    found.counted.update(id_ for id_, _, _ in rows)
    counters = [_checked(root / "counters" / day, part, found) for part in kept.get("counters", ())]
    if kept.get("expired") or not all(counters) or not all(archive):
        return
    counted: Counter[str] = Counter()
    for part in counters:
        counted.update(_totals(part) if part else {})
    if counted != Counter(bucket for _, bucket, _ in rows):
        found.broken.append(f"I4: the counters of {day} are not what its archive holds")


@dataclass(frozen=True)
class _Part:
    """A part as the snapshot names it; its hash stands for its content, so that each
    content is read once.
    """

    sha256: str
    path: Path = field(compare=False)


def _checked(directory: Path, named: dict[str, Any], found: Contents) -> _Part | None:
    path = directory / f"g{named['generation']:010d}.parquet"
    where = f"{directory.parent.name}/{directory.name}/{path.name}"
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        found.broken.append(f"I5: {where}: {error.strerror}")
        return None
    if sha256 != named["sha256"]:
        found.broken.append(f"I5: {where} differs from its sha256")
        return None
    return _Part(sha256, path)


@lru_cache(maxsize=1024)
def _events(part: _Part) -> list[tuple[str, str, str]]:
    """(id, quarter of an hour, event) of each row of an archive part."""
    id_ = "coalesce(client_id, printf('%011x', epoch_ms(received)) || lower(hex(random_id)))"
    return _query(part, f"SELECT {id_}, time_bucket(INTERVAL 15 minutes, time)::VARCHAR, event FROM read_parquet($1)")


@lru_cache(maxsize=1024)
def _totals(part: _Part) -> Counter[str]:
    """Events by quarter of an hour of a part of counters."""
    rows = _query(
        part,
        "SELECT bucket::VARCHAR, sum(events)::BIGINT FROM read_parquet($1) "
        "WHERE dimension = 'total' AND visitors IS NULL GROUP BY ALL",
    )
    return Counter(dict(rows))


def _query(part: _Part, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(config={"threads": 1}) as database:
        return database.execute(sql, [str(part.path)]).fetchall()
