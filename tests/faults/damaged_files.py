"""The files of a data directory that are damaged, and every way in which one of them
is: each bit, each byte.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import zstandard

from compactor.process import compact_once
from ingest.collect.encode import Line, encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.segments.line import SCHEMA_VERSION
from shared.segments.recovery import next_sequence
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339
from tests.builders.silent_log import SilentLog
from tests.faults.oracle import id_of

PASSES = 3
UNFOLDED = 3


class Damage(NamedTuple):
    """One way in which a file is not what it was: where in it, what is there instead,
    and which lines were hit.
    """

    place: str
    content: bytes
    hit: frozenset[str]


@dataclass(frozen=True)
class Target:
    """A file of a directory, and every way in which it is damaged."""

    name: str
    template: Path
    file: str
    damages: Callable[[bytes], Iterator[Damage]]


def bits(content: bytes) -> Iterator[Damage]:
    """Each bit flipped. Of lines, the one with the bit is hit."""
    owners = list(_owners(content))
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield Damage(f"bit {bit}", bytes(flipped), owners[bit // 8])


def cuts(content: bytes) -> Iterator[Damage]:
    """Cut short at each byte, and zeroed from there on. Of lines, all from there on are
    hit.
    """
    owners = list(_owners(content))
    for length in range(len(content)):
        hit = frozenset().union(*owners[length:])
        yield Damage(f"cut at {length}", content[:length], hit)
        yield Damage(f"zeroed from {length}", content[:length] + bytes(len(content) - length), hit)


def bits_and_cuts(content: bytes) -> Iterator[Damage]:
    yield from bits(content)
    yield from cuts(content)


def _owners(content: bytes) -> Iterator[frozenset[str]]:
    """For each byte the id of the line that it is in, as far as these are lines."""
    for line in content.splitlines(keepends=True):
        id_ = id_of(line)
        owner = frozenset({id_} if id_ else ())
        yield from (owner for _ in line)


def write_segment(data: DataDirectory, ids: list[str]) -> Path:
    """A sealed segment of short lines."""
    now = rfc3339(now_ms())
    lines = [Line(v=SCHEMA_VERSION, id=id_, name="pageview", time=now, received=now, site="example.com") for id_ in ids]
    active = ActiveSegment(data, "0", next_sequence(data, "0"), "fsync")
    active.commit(encode_lines(lines), len(lines))
    name = active.seal()
    if name is None:
        raise AssertionError("a segment with lines has a name")
    return data.log / name.file


def make_targets(root: Path) -> tuple[list[Target], list[str]]:
    """Templates, and the ids that each of them holds: three passes, and a last segment
    of UNFOLDED that is not folded yet.
    """
    folded = DataDirectory(root / "folded")
    make_data_directory(folded)
    for number in range(PASSES):
        write_segment(folded, [f"event-{number}0", f"event-{number}1"])
        compact_once(folded, settings_of(folded), SilentLog())
    unfolded = [f"event-{PASSES}{place}" for place in range(UNFOLDED)]
    path = write_segment(folded, unfolded)
    ids = [*(f"event-{number}{place}" for number in range(PASSES) for place in range(2)), *unfolded]
    checksum = path.with_suffix(".sha256")
    packed, packed_by_zstd, orphaned = root / "packed", root / "packed-by-zstd", root / "orphaned"
    for other in (packed, packed_by_zstd, orphaned):
        shutil.copytree(folded.root, other)
        (other / "log" / path.name).unlink()
    (packed / "log" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    (packed_by_zstd / "log" / f"{path.name}.zst").write_bytes(zstandard.compress(path.read_bytes()))
    (orphaned / "log" / checksum.name).unlink()
    (orphaned / "log" / "active-0.ndjson").write_bytes(path.read_bytes())
    (archive,) = sorted(folded.archive.glob("*/g*1.parquet"))
    counters = max(folded.counters.glob(f"{archive.parent.name}/*.parquet"))
    targets = [
        Target("segment", folded.root, f"log/{path.name}", bits_and_cuts),
        Target(".sha256", folded.root, f"log/{checksum.name}", bits_and_cuts),
        Target("compressed segment", packed, f"log/{path.name}.gz", bits_and_cuts),
        Target("segment compressed by zstd", packed_by_zstd, f"log/{path.name}.zst", bits_and_cuts),
        Target("active segment", orphaned, "log/active-0.ndjson", bits_and_cuts),
        Target("snapshot.json", folded.root, "snapshot.json", bits_and_cuts),
        Target("archive part", folded.root, str(archive.relative_to(folded.root)), bits_and_cuts),
        Target("counters part", folded.root, str(counters.relative_to(folded.root)), bits_and_cuts),
    ]
    return targets, ids


def settings_of(data: DataDirectory) -> Settings:
    return Settings(data_dir=data.root)
