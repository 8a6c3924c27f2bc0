"""What others made of active segments in log/: `active-0.ndjson.1`,
`active-0.ndjson-20261127.gz` and the like.

logrotate renames, copies and compresses what it is pointed at. The writer seals what it
had acknowledged by itself (ingest/wal/displaced_segment.py), so most of these hold
nothing that is not in a segment, and go. What is in no segment (the writer was killed
before it saw the rename; `copytruncate` kept a copy and cut the original) is sealed
here. Copies do no harm: an id counts once (P7). That ends with retention: a copy of
lines whose segment and whose archive day are both gone is not known any more, and
counts again. Killed at any point and run again it leaves the same.
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

from shared.disk.compression import CannotInflate
from shared.disk.durable import hard_link, remove, sync_directory
from shared.disk.layout import ROTATED_WRITER, DataDirectory, SegmentName, parse_rotated
from shared.disk.listing import list_names
from shared.log import Log
from shared.segments.line import DataFromNewerVersion, ScannedLine, scan_lines
from shared.segments.recovery import is_same_file, seal_valid_lines
from shared.segments.sealed import readable_lines, recorded_sha256, sealed_segments

# logrotate, gzip or a person may be at work on it; who writes to a file changes its
# time.
SETTLED_S = 60.0
LET_IT_SEAL = "have logrotate run `foldlog rotate` and leave active segments alone: logrotate/README.md says how"


class _Stray(NamedTuple):
    """A file that no writer has open, and what reading it through found: whether it
    ends where it should.
    """

    path: Path
    lines: int
    bad: int
    is_whole: bool


def adopt_strays(data: DataDirectory, log: Log, now_ms: int, settled_s: float = SETTLED_S) -> None:
    """Seal what is in no segment yet, and remove what is. Only under the compactor's
    lock: it gives out sequence numbers.

    What was touched less than `settled_s` ago waits for a later pass, as does what
    cannot be read or sealed now.
    """
    for path in [data.log / name for name in list_names(data.log) if parse_rotated(name) is not None]:
        try:
            with closing(_Held(path)) as held:
                if held.is_free(now_ms, settled_s):
                    _adopt(data, path, log)
        except OSError as error:
            log.warning(
                "rotated_file",
                outcome="skipped",
                file=path.name,
                reason=str(error),
                action=f"see that Foldlog may read it, or move it: {path}",
            )
        except DataFromNewerVersion as error:  # it is whole, and of use to that version: the passes go on without it
            log.warning(
                "rotated_file",
                outcome="skipped",
                file=path.name,
                reason=str(error),
                action=f"install that version, or move it: {path}",
            )


class _Held:
    """A file of the log, open and, if nobody else has it, locked: the writer it was
    taken from may not have noticed yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def is_free(self, now_ms: int, settled_s: float) -> bool:
        """Whether no writer has it open, and nobody touched it lately. Long ahead of
        the clock is not lately.
        """
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode) or abs(now_ms / 1000 - found.st_ctime) < settled_s:
            return False
        return lock_descriptor(self._descriptor, blocking=False) and is_same_file(self._path, self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _adopt(data: DataDirectory, path: Path, log: Log) -> None:
    stray = _look(path)
    if stray.bad and not stray.lines:
        kept = _set_aside(data, path)
        log.warning(
            "rotated_file",
            outcome="quarantined",
            file=path.name,
            kept=kept.name,
            reason="no line of it is one of Foldlog's",
            action=LET_IT_SEAL,
        )
        return
    known = _by_sha256(data)
    adopted = seal_valid_lines(data, ROTATED_WRITER, path.name, _scanner(path), known.get)
    if stray.is_whole:
        remove([path])
    else:
        _set_aside(data, path)  # nothing but this file holds what cannot be inflated of it
    is_new = adopted.sealed is not None and adopted.sealed not in known.values()
    log.warning(
        "rotated_file",
        outcome="recovered" if is_new else "removed",
        file=path.name,
        segment=adopted.sealed.file if adopted.sealed else None,
        lines=adopted.lines,
        quarantined=adopted.quarantined,
        action=LET_IT_SEAL,
    )


def _look(path: Path) -> _Stray:
    lines = bad = 0
    is_whole = True
    for line in _scanner(path)():
        lines += line.reason is None
        bad += line.reason is not None
        is_whole = line.offset >= 0
    return _Stray(path, lines, bad, is_whole)


def _scanner(path: Path) -> Callable[[], Iterator[ScannedLine]]:
    """Reads the file, which may be compressed, from its beginning; last, where it
    cannot be read to its end, why.
    """

    def scanned() -> Iterator[ScannedLine]:
        try:
            yield from scan_lines(readable_lines(path))
        except CannotInflate as error:
            yield ScannedLine(-1, b"", f"the compressed data cannot be read any further: {error}")

    return scanned


def _by_sha256(data: DataDirectory) -> dict[str, SegmentName]:
    """The sealed segments by the SHA-256 of their lines."""
    found = ((recorded_sha256(segment.checksum), segment.name) for segment in sealed_segments(data))
    return {sha256: name for sha256, name in found if sha256 is not None}


def _set_aside(data: DataDirectory, path: Path) -> Path:
    """Keep the file in quarantine, under a name that no other content has."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    kept = data.set_aside(f"{sha256[:16]}-{path.name}")
    hard_link(path, kept)
    sync_directory(data.quarantine)
    remove([path])
    return kept
