"""Recovery of rotated files: what logrotate or an operator made of active segments in
log/, such as `active-0.ndjson.1` and `active-0.ndjson-20261127.gz`.

The writer seals the lines of a displaced segment itself
(ingest/wal/displaced_segment.py), so most rotated files contain only lines that a
segment has as well, and are deleted. The others are sealed here: the writer was killed
before it noticed the rename, or `copytruncate` left a copy and cut the original.
Duplicate lines do no harm, because an id counts once (P7). After retention they do: a
line whose segment and whose archive day are both deleted counts again.

Killed at any point and run again, it leaves the same files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from filelock import lock_descriptor

from shared.disk.compression import DecompressionError
from shared.disk.durable import hard_link, remove, sync_directory
from shared.disk.layout import ROTATED_WRITER, DataDirectory, SegmentName, parse_rotated
from shared.disk.listing import list_names
from shared.log import Log
from shared.segments.line import DataFromNewerVersion, ScannedLine, scan_lines
from shared.segments.recovery import is_same_file, seal_valid_lines
from shared.segments.rotation_advice import LET_WRITERS_SEAL
from shared.segments.sealed import readable_lines, recorded_sha256, sealed_segments

# logrotate, gzip or an operator may still be writing to the file; a write changes its
# ctime.
QUIET_S = 60.0


class _Content(NamedTuple):
    """What a scan of a rotated file found: how many good and bad lines, and whether the
    file could be read to its end.
    """

    lines: int
    bad: int
    is_complete: bool


def recover_rotated_files(data: DataDirectory, log: Log, now_ms: int, quiet_s: float = QUIET_S) -> None:
    """Seal the lines that no segment has, and delete the file. The caller holds the
    compactor's lock, because sequence numbers are assigned here.

    A file that changed less than `quiet_s` seconds ago, or that cannot be read or
    sealed now, is left to a later pass.
    """
    for path in [data.log / name for name in list_names(data.log) if parse_rotated(name) is not None]:
        try:
            with closing(_OpenRotatedFile(path)) as file:
                if file.is_free(now_ms, quiet_s):
                    _recover(data, path, log)
        except OSError as error:
            action = f"give Foldlog read access to it, or move it: {path}"
            log.warning("rotated_file", outcome="skipped", file=path.name, reason=str(error), action=action)
        except DataFromNewerVersion as error:  # intact, and readable by that version
            action = f"install that version, or move it: {path}"
            log.warning("rotated_file", outcome="skipped", file=path.name, reason=str(error), action=action)


class _OpenRotatedFile:
    """A rotated file, open for as long as it is recovered. It is locked if no other
    process has the lock: its writer may not have noticed the rename yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def is_free(self, now_ms: int, quiet_s: float) -> bool:
        """Whether no writer has the file open and it has not changed lately. A ctime
        far in the future does not count as lately: the clock was wrong.
        """
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or abs(now_ms / 1000 - status.st_ctime) < quiet_s:
            return False
        return lock_descriptor(self._descriptor, blocking=False) and is_same_file(self._path, self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _recover(data: DataDirectory, path: Path, log: Log) -> None:
    content = _scan(path)
    if content.bad and not content.lines:
        kept = _quarantine(data, path)
        names = {"file": path.name, "kept": kept.name}
        reason = "none of its lines was written by Foldlog"
        log.warning("rotated_file", outcome="quarantined", **names, reason=reason, action=LET_WRITERS_SEAL)
        return
    known = _segments_by_sha256(data)
    recovered = seal_valid_lines(data, ROTATED_WRITER, path.name, _scanner(path), known.get)
    if content.is_complete:
        remove([path])
    else:
        _quarantine(data, path)  # only this file has the bytes that cannot be inflated
    is_new = recovered.sealed is not None and recovered.sealed not in known.values()
    log.warning(
        "rotated_file",
        outcome="recovered" if is_new else "removed",
        file=path.name,
        segment=recovered.sealed.file if recovered.sealed else None,
        lines=recovered.lines,
        quarantined=recovered.quarantined,
        action=LET_WRITERS_SEAL,
    )


def _scan(path: Path) -> _Content:
    lines = bad = 0
    is_complete = True
    for line in _scanner(path)():
        lines += line.reason is None
        bad += line.reason is not None
        is_complete = line.offset >= 0
    return _Content(lines, bad, is_complete)


def _scanner(path: Path) -> Callable[[], Iterator[ScannedLine]]:
    """A function that reads the file, compressed or not, from its start. Where the file
    cannot be inflated to its end, the last line has offset -1 and the reason.
    """

    def scanned() -> Iterator[ScannedLine]:
        try:
            yield from scan_lines(readable_lines(path))
        except DecompressionError as error:
            yield ScannedLine(-1, b"", f"the compressed data cannot be read any further: {error}")

    return scanned


def _segments_by_sha256(data: DataDirectory) -> dict[str, SegmentName]:
    """The sealed segments by the SHA-256 of their lines."""
    recorded = ((recorded_sha256(segment.checksum), segment.name) for segment in sealed_segments(data))
    return {sha256: name for sha256, name in recorded if sha256 is not None}


def _quarantine(data: DataDirectory, path: Path) -> Path:
    """Move the file to quarantine/, under a name that is unique to its content."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    kept = data.damaged_copy(f"{sha256[:16]}-{path.name}")
    hard_link(path, kept)
    sync_directory(data.quarantine)
    remove([path])
    return kept
