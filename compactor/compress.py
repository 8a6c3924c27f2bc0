"""`foldlog compress`: sealed segments that are folded become `.ndjson.zst` or
`.ndjson.gz`, their lines stay the same (P4).

A segment is published under its compressed name before the plain one is removed; while
both are there the plain one is read. Killed anywhere and run again it leaves the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from shared.disk.compression import CannotInflate, deflating, inflated
from shared.disk.durable import publishing, remove
from shared.disk.layout import DataDirectory, parse_segment
from shared.disk.listing import temp_files
from shared.generations.load import load_snapshot
from shared.segments.sealed import Segment, recorded_sha256, sealed_segments

METHODS = {"zstd": ".zst", "gzip": ".gz"}
# Whoever waits for the lock looks twenty times a second: between two segments a pass
# gets its turn.
BREATH_S = 0.1
_BLOCK = 1 << 20


class _Damaged(Exception):
    """The segment is not what was sealed, or what was written is not the segment: it
    stays as it is.
    """


@dataclass
class Compressed:
    """What was done: how many segments, their bytes before and after, and which were
    left as they are, with the reason.
    """

    segments: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    left: dict[str, str] = field(default_factory=dict)


def compress(
    data: DataDirectory, method: str, older_than_s: float, now_ms: int, progress: Callable[[str], None]
) -> Compressed:
    """Compress what is folded and was sealed longer ago than `older_than_s`. Raises
    CompactorBusy when a pass does not end.
    """
    done = Compressed()
    suffix = METHODS[method]
    with compactor_lock(data, LOCK_TIMEOUT_S):
        remove(temp_compressed_files(data))
        waiting = compressible(data, older_than_s, now_ms)
    for segment in waiting:
        progress(segment.name.file)
        with compactor_lock(data, LOCK_TIMEOUT_S):
            if segment.path.exists() and is_folded(data, segment):
                _compress(segment, suffix, done)
        time.sleep(BREATH_S if segment is not waiting[-1] else 0)
    return done


def compressible(data: DataDirectory, older_than_s: float, now_ms: int) -> list[Segment]:
    """The plain segments that a fold needs no longer, oldest first."""
    snapshot = load_snapshot(data)
    latest = now_ms / 1000 - older_than_s
    found = [
        segment
        for segment in sealed_segments(data)
        if not segment.suffix and snapshot.has_folded(segment.name) and segment.name.sealed_at.timestamp() <= latest
    ]
    return sorted(found, key=lambda segment: segment.name.sealed_at)


def is_folded(data: DataDirectory, segment: Segment) -> bool:
    """By the snapshot of now: a damaged one may have gone back to an earlier."""
    return load_snapshot(data).has_folded(segment.name)


def temp_compressed_files(data: DataDirectory) -> list[Path]:
    """Compressed files that a killed command left unpublished. The caller holds the
    compactor's lock.
    """
    sealed = {segment.name for segment in sealed_segments(data)}
    return list(temp_files(data.log, lambda target: parse_segment(target) in sealed))


def _compress(segment: Segment, suffix: str, done: Compressed) -> None:
    wanted = recorded_sha256(segment.checksum)
    target = segment.path.with_name(segment.name.packed(suffix))
    before = segment.bytes
    try:
        if wanted is None:
            raise _Damaged("has no .sha256 that can be read")
        with publishing(target) as beside:
            if _pack(segment.path, beside, suffix, before) != wanted:
                raise _Damaged("differs from its .sha256")
            if _sha256(beside, suffix) != wanted:
                raise _Damaged("could not be read again as it was written")
    except _Damaged as damage:
        done.left[segment.path.name] = str(damage)
        return
    remove([copy for copy in segment.copies if copy != target])
    done.segments += 1
    done.bytes_before += before
    done.bytes_after += target.stat().st_size


def _pack(plain: Path, beside: Path, suffix: str, size: int) -> str:
    """Write a file compressed. Returns the SHA-256 of what was read."""
    sha256 = hashlib.sha256()
    with deflating(beside, suffix, size) as write:
        for block in inflated(plain, _BLOCK):
            sha256.update(block)
            write(block)
    return sha256.hexdigest()


def _sha256(path: Path, suffix: str) -> str | None:
    """Of what a compressed file holds, whatever it is called; None where it cannot be
    inflated.
    """
    sha256 = hashlib.sha256()
    try:
        for block in inflated(path, _BLOCK, suffix):
            sha256.update(block)
    except CannotInflate:
        return None
    return sha256.hexdigest()
