"""`foldlog compress`: folded segments become `.ndjson.zst` or `.ndjson.gz`; their lines
do not change (P4).

The compressed file is published before the plain one is deleted; while both exist,
readers use the plain one. Killed at any point and run again, it leaves the same files.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from compactor.lock import LOCK_TIMEOUT_S, compactor_lock
from shared.disk.compression import DecompressionError, compressing, decompressed_blocks
from shared.disk.durable import publishing, remove
from shared.disk.layout import DataDirectory, parse_segment
from shared.disk.listing import temp_files
from shared.generations.load import load_snapshot
from shared.segments.sealed import Segment, recorded_sha256, sealed_segments

METHODS = {"zstd": ".zst", "gzip": ".gz"}
# A process that waits for the lock polls it twenty times a second, so a pass can start
# between two segments.
PAUSE_S = 0.1
_BLOCK_BYTES = 1 << 20


class _Mismatch(Exception):
    """The plain or the compressed file does not match the `.sha256` of the segment, so
    the segment is left as it is.
    """


@dataclass
class Compressed:
    """How many segments were compressed, their bytes before and after, and which were
    left, each with the reason.
    """

    segments: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    left: dict[str, str] = field(default_factory=dict)


def compress(
    data: DataDirectory, method: str, older_than_s: float, now_ms: int, progress: Callable[[str], None]
) -> Compressed:
    """Compress the folded segments that were sealed longer ago than `older_than_s`.
    Raises CompactorBusy.
    """
    done = Compressed()
    suffix = METHODS[method]
    with compactor_lock(data, LOCK_TIMEOUT_S):
        remove(temp_compressed_files(data))
        segments = compressible(data, older_than_s, now_ms)
    for segment in segments:
        progress(segment.name.file)
        with compactor_lock(data, LOCK_TIMEOUT_S):
            if segment.path.exists() and is_folded(data, segment):
                _compress(segment, suffix, done)
        time.sleep(PAUSE_S if segment is not segments[-1] else 0)
    return done


def compressible(data: DataDirectory, older_than_s: float, now_ms: int) -> list[Segment]:
    """The plain segments that are folded, oldest first."""
    snapshot = load_snapshot(data)
    latest = now_ms / 1000 - older_than_s
    found = [
        segment
        for segment in sealed_segments(data)
        if not segment.suffix and snapshot.has_folded(segment.name) and segment.name.sealed_at.timestamp() <= latest
    ]
    return sorted(found, key=lambda segment: segment.name.sealed_at)


def is_folded(data: DataDirectory, segment: Segment) -> bool:
    """By the current snapshot, which may be an earlier one than when the segment was
    listed: a damaged one is replaced.
    """
    return load_snapshot(data).has_folded(segment.name)


def temp_compressed_files(data: DataDirectory) -> list[Path]:
    """Temporary files of a killed compression. The caller holds the compactor's
    lock.
    """
    sealed = {segment.name for segment in sealed_segments(data)}
    return list(temp_files(data.log, lambda target: parse_segment(target) in sealed))


def _compress(segment: Segment, suffix: str, done: Compressed) -> None:
    expected = recorded_sha256(segment.checksum)
    target = segment.path.with_name(segment.name.compressed(suffix))
    before = segment.bytes
    try:
        if expected is None:
            raise _Mismatch("has no .sha256 that can be read")
        with publishing(target) as beside:
            if _pack(segment.path, beside, suffix, before) != expected:
                raise _Mismatch("differs from its .sha256")
            if _sha256(beside, suffix) != expected:
                raise _Mismatch("could not be read back as it was written")
    except _Mismatch as mismatch:
        done.left[segment.path.name] = str(mismatch)
        return
    remove([copy for copy in segment.copies if copy != target])
    done.segments += 1
    done.bytes_before += before
    done.bytes_after += target.stat().st_size


def _pack(plain: Path, target: Path, suffix: str, size: int) -> str:
    """Compress a file. Returns the SHA-256 of the plain bytes."""
    sha256 = hashlib.sha256()
    with compressing(target, suffix, size) as write:
        for block in decompressed_blocks(plain, _BLOCK_BYTES):
            sha256.update(block)
            write(block)
    return sha256.hexdigest()


def _sha256(path: Path, suffix: str) -> str | None:
    """The SHA-256 of the inflated content, or None if it cannot be inflated. `suffix`
    gives the method, since the file has a temporary name.
    """
    sha256 = hashlib.sha256()
    try:
        for block in decompressed_blocks(path, _BLOCK_BYTES, suffix):
            sha256.update(block)
    except DecompressionError:
        return None
    return sha256.hexdigest()
