"""Recovery of an abandoned active segment (P2, P3).

An unlocked active segment has lost its writer. Recovery seals every line whose CRC is
valid as a new segment, puts the others into quarantine with offset and reason, and then
removes the abandoned file. The result depends on that file alone: recovery that was
killed at any point and runs again leaves the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import lock_descriptor

from shared.disk.durable import publish, publishing, remove
from shared.disk.layout import (
    DataDirectory,
    SegmentName,
    parse_checksum,
    parse_segment,
)
from shared.disk.listing import list_files, temp_files
from shared.exit_codes import TemporaryFailure
from shared.generations.load import load_snapshot
from shared.segments.line import ScannedLine, iter_lines, scan_lines
from shared.segments.quarantine import RECOVERED_PREFIX, publish_quarantine, with_zeros_joined
from shared.segments.sealed import active_segments, recorded_sha256, sealed_segments, sha256_line

# Longer than copying a segment takes; a copy in progress modifies its file all the
# time.
ABANDONED_S = 600.0


class WriterAlive(TemporaryFailure, BlockingIOError):
    """The segment is locked: its writer runs, and there is nothing to recover."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is open in a running process"


class NotASegment(TemporaryFailure, OSError):
    """Something else than a file has the name of an active segment: a link, a pipe. It
    is not followed, and no event is appended, until an operator removes it.
    """

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(path)
        self.path = path
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.path} is {self.kind}, not a file: move it away, and its writer begins a new segment"


@dataclass(frozen=True)
class Recovered:
    """The number of lines that were sealed and that were quarantined. `sealed` is None
    if no line was valid.
    """

    writer: str
    sealed: SegmentName | None
    lines: int
    quarantined: int


def recover(data: DataDirectory, writer: str) -> Recovered | None:
    """Recover the abandoned active segment of a writer; None if it has none. Raises
    WriterAlive.
    """
    path = data.active(writer)
    if kind := _other_kind(path):
        raise NotASegment(path, kind)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not lock_descriptor(descriptor, blocking=False):
            raise WriterAlive(path)
        if not is_same_file(path, descriptor):
            return None  # another process sealed or recovered it between open and lock
        return _seal_and_remove(data, writer, path, descriptor)
    finally:
        os.close(descriptor)


def not_segments(data: DataDirectory) -> list[NotASegment]:
    """What has the name of an active segment and is no file."""
    found = ((path, _other_kind(path)) for path in active_segments(data).values())
    return [NotASegment(path, kind) for path, kind in found if kind]


def _other_kind(path: Path) -> str | None:
    """What a path is that is no file; None for a file, and for nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a special file")


def is_same_file(path: Path, descriptor: int) -> bool:
    """Whether `path` is still the file behind `descriptor`. A lock on a renamed or
    removed file protects nothing.
    """
    try:
        on_disk = path.lstat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (on_disk.st_ino, on_disk.st_dev) == (opened.st_ino, opened.st_dev)


def next_sequence(data: DataDirectory, writer: str) -> int:
    """One more than every sequence number that the writer has used, in the log or in
    the ledger.
    """
    on_disk = (segment.name.sequence for segment in sealed_segments(data) if segment.name.writer == writer)
    return max(load_snapshot(data).folded.get(writer, 0), *on_disk, 0) + 1


def current_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _seal_and_remove(data: DataDirectory, writer: str, path: Path, descriptor: int) -> Recovered:
    recovered = seal_valid_lines(
        data, writer, path.name, lambda: _scan_file(descriptor), lambda sha256: _sealed_before(data, writer, sha256)
    )
    remove([path])
    return recovered


def seal_valid_lines(
    data: DataDirectory,
    writer: str,
    source: str,
    scanned: Callable[[], Iterator[ScannedLine]],
    sealed_before: Callable[[str], SegmentName | None],
) -> Recovered:
    """Seal the valid lines of a file as the next segment of a writer, unless
    `sealed_before` finds one with their sha256. Quarantine the others.

    `scanned` reads the file `source` from its start.
    """
    # Before sealing: once the sequence number is in use, the temporary files of a
    # killed run look like those of the compactor.
    remove(temp_segment_files(data, writer))
    sha256 = hashlib.sha256()
    source_sha256 = hashlib.sha256()
    lines = 0

    def invalid() -> Iterator[ScannedLine]:
        nonlocal lines
        for line in scanned():
            source_sha256.update(line.content)
            if line.reason is None:
                sha256.update(line.content)
                lines += 1
            else:
                yield line

    bad = sum(1 for _ in with_zeros_joined(invalid()))
    if bad:
        # The name follows from the content: the same if recovery runs again, another
        # for each other file.
        stem = f"{RECOVERED_PREFIX}{writer}-{source_sha256.hexdigest()[:16]}"
        publish_quarantine(data, stem, source, (line for line in scanned() if line.reason))
    sealed = sealed_before(sha256.hexdigest()) if lines else None
    if lines and sealed is None:
        sealed = SegmentName(writer, next_sequence(data, writer), current_second())
        remove(_unused_checksums(data, writer))
        with publishing(data.log / sealed.file) as beside:
            with beside.open("xb") as good:
                good.writelines(line.content for line in scanned() if line.reason is None)
            publish(data.log / sealed.checksum, sha256_line(sha256.hexdigest(), sealed.file))
    return Recovered(writer, sealed, lines, bad)


def _scan_file(descriptor: int) -> Iterator[ScannedLine]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        yield from scan_lines(iter_lines(file))


def _sealed_before(data: DataDirectory, writer: str, sha256: str) -> SegmentName | None:
    """The segment that an interrupted recovery made of these lines: the writer's
    newest, if its hash is the same.
    """
    mine = [segment for segment in sealed_segments(data) if segment.name.writer == writer]
    return mine[-1].name if mine and recorded_sha256(mine[-1].checksum) == sha256 else None


def _unused_checksums(data: DataDirectory, writer: str) -> list[Path]:
    """`.sha256` files that a killed seal left without their segment."""
    sealed = {segment.name for segment in sealed_segments(data)}
    checksums = ((parse_checksum(path.name), path) for path in list_files(data.log))
    return [path for name, path in checksums if name is not None and name.writer == writer and name not in sealed]


def temp_segment_files(data: DataDirectory, writer: str) -> list[Path]:
    """Files of a writer that a killed seal, copy or recovery left unpublished; each may
    be as large as a segment. The caller holds the writer's lock.

    Copies of a segment that is sealed already belong to the compactor.
    """
    sealed = {(segment.name.writer, segment.name.sequence) for segment in sealed_segments(data)}

    def is_of_writer(target: str) -> bool:
        name = parse_segment(target) or parse_checksum(target)
        return name is not None and name.writer == writer and (name.writer, name.sequence) not in sealed

    prefix = f"{RECOVERED_PREFIX}{writer}-"
    return [
        *temp_files(data.log, is_of_writer),
        *temp_files(data.quarantine, lambda target: target.startswith(prefix)),
    ]


def abandoned_temp_files(data: DataDirectory) -> Iterator[Path]:
    """Such files of any writer that have been idle for ABANDONED_S: their writer may
    never run again. The caller holds the compactor's lock.
    """
    return temp_files(data.log, lambda target: bool(parse_segment(target) or parse_checksum(target)), ABANDONED_S)
