"""The active segment: the one file that this writer appends to, and the rules for doing
so (P1, P3, P4).

Open means locked: the lock is on the segment's own descriptor, so it is free exactly
when its writer is gone. Every commit looks before it writes and after it synced. A file
that was renamed, replaced or deleted behind the writer's back is never acknowledged
into again, and what it holds is read through the descriptor and sealed as a copy; of
one that was truncated nothing is left to read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from filelock import lock_descriptor

from shared.disk.durable import publish, publishing, remove, sync_directory
from shared.disk.layout import DataDirectory, SegmentName
from shared.segments.recovery import current_second, is_same_file
from shared.segments.sealed import sealed_segments, sha256_line

_COPY_BLOCK = 1 << 20
_CREATE_TRIES = 10
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class CommitFailed(OSError):
    """A group was not made durable. `full` says that only space was missing; the
    segment is as it was before the group.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class SegmentSuspect(CommitFailed):
    """The file system no longer vouches for this segment: never sync it again, never
    append to it again.
    """


class SegmentMoved(CommitFailed):
    """Somebody renamed, truncated, replaced or deleted the segment. `written` says
    whether the group went into it.

    The segment is still open and locked: adopt() what it holds, or abandon() it.
    """

    def __init__(self, message: str, *, written: bool) -> None:
        super().__init__(message)
        self.written = written


class SegmentTruncated(CommitFailed):
    """What was acknowledged into the segment is not in it any more, so there is nothing
    to adopt.
    """


class ActiveSegment:
    """An open segment. Not thread-safe: it belongs to the writer thread."""

    def __init__(self, data: DataDirectory, writer: str, sequence: int, durability: Literal["fsync", "os"]) -> None:
        """Create it. Raises FileExistsError when there is one (recover it first),
        OSError when it cannot be made.
        """
        self.writer = writer
        self.sequence = sequence
        self.path = data.active(writer)
        self._name = str(self.path)  # looked at before every commit: Path would cost more than the call
        self.bytes = 0
        self.lines = 0
        self.synced_s = 0.0  # how long the last sync took
        self._data = data
        self._sync: Callable[[int], None] = os.fdatasync if durability == "fsync" else _no_sync
        self._sha256 = hashlib.sha256()
        self._descriptor = _create_locked(self.path)
        made = os.fstat(self._descriptor)
        self._identity = (made.st_ino, made.st_dev, 1)

    def commit(self, blob: bytes, lines: int) -> None:
        """Append whole lines. When it returns they are on disk; when it raises
        CommitFailed nobody may be told so.
        """
        self._must_be_ours(self.bytes, written=False)
        self._write(blob)
        started = time.perf_counter()
        try:
            self._sync(self._descriptor)
        except OSError as error:
            # The kernel may have dropped the pages and report success next time: a
            # failed sync is never repeated.
            raise SegmentSuspect(f"cannot sync {self.path}: {error.strerror}") from error
        self.synced_s = time.perf_counter() - started
        self._must_be_ours(self.bytes + len(blob), written=True)
        self._sha256.update(blob)
        self.bytes += len(blob)
        self.lines += lines

    def is_ours(self) -> bool:
        """Whether the file behind the name is the one that this writer made, and whose
        lock it holds. From any thread.
        """
        try:
            found = os.lstat(self._name)
        except OSError:
            return False
        return (found.st_ino, found.st_dev, found.st_nlink) == self._identity

    def look(self) -> None:
        """Raises SegmentMoved if somebody touched the segment since the last commit."""
        self._must_be_ours(self.bytes, written=False)

    def seal(self) -> SegmentName | None:
        """Close the segment for ever, under the name it keeps. An empty one is removed
        instead: None. Raises SegmentMoved.
        """
        if not self.lines:
            self._remove_empty()
            return None
        name = SegmentName(self.writer, self.sequence, current_second())
        self._must_be_ours(self.bytes, written=False)
        try:
            os.fsync(self._descriptor)
            publish(self._data.log / name.checksum, sha256_line(self._sha256.hexdigest(), name.file))
            self._must_be_ours(self.bytes, written=False)
            self._rename(name)
            self._must_be_sealed(name)
        except SegmentMoved:
            raise
        except BaseException:
            self.abandon()
            raise
        self.abandon()
        return name

    def adopt(self, blob: bytes = b"", lines: int = 0) -> SegmentName | None:
        """Seal a copy of what went into the segment: its file has another name now, or
        none. Of an empty one: None.

        `blob` is the group that was written and synced, and not acknowledged. When this
        returns, it is as safe as what was. Raises SegmentTruncated where the bytes are
        not there any more. After any other OSError it may be tried again.
        """
        # Whoever put another file in place of this one may have had it recovered, under
        # the number that this one was to get.
        used = (segment.name.sequence for segment in sealed_segments(self._data) if segment.name.writer == self.writer)
        name = SegmentName(self.writer, max(self.sequence, max(used, default=0) + 1), current_second())
        sha256 = self._sha256.copy()
        sha256.update(blob)
        if self.lines + lines:
            if not self._data.log.is_dir():  # publishing would make it, where a disk may only be away for a moment
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._data.log))
            with publishing(self._data.log / name.file) as beside:
                self._copy(beside, self.bytes + len(blob), sha256.hexdigest())
                publish(self._data.log / name.checksum, sha256_line(sha256.hexdigest(), name.file))
        self.abandon()
        return name if self.lines + lines else None

    def seal_as_suspect(self) -> SegmentName | None:
        """Seal without a sync and without a `.sha256`: the fold then trusts each line
        only as far as its own CRC.
        """
        name = SegmentName(self.writer, self.sequence, current_second())
        try:
            self._must_be_ours(os.fstat(self._descriptor).st_size, written=False)
            self._rename(name)
        except OSError:
            return None  # left where it is: its lock is free now, so the next start recovers it
        finally:
            self.abandon()
        return name

    def abandon(self) -> None:
        """Let go of the file as it is. Closing frees the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, blob: bytes) -> None:
        view = memoryview(blob)
        try:
            while view:  # a short write is normal near a full disk
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self._truncate_back()
            raise CommitFailed(f"cannot write to {self.path}: {error.strerror}", full=error.errno in FULL) from error

    def _truncate_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.bytes)
            os.fsync(self._descriptor)
        except OSError as error:
            raise SegmentSuspect(f"cannot truncate {self.path} back to {self.bytes} bytes: {error.strerror}") from error

    def _must_be_ours(self, size: int, *, written: bool) -> None:
        """Inode, link count and size are what this writer made: before a write of the
        file behind the name, after it of ours.

        The name leads to our inode or the file has moved; if it does, one look at it is
        a look at the descriptor as well.
        """
        try:
            found = os.fstat(self._descriptor) if written else os.lstat(self._name)
        except FileNotFoundError:
            found = None
        if found is None or (found.st_ino, found.st_dev, found.st_nlink) != self._identity:
            raise SegmentMoved(f"{self.path} was renamed or deleted while it was open", written=written)
        if found.st_size != size:
            raise SegmentMoved(f"{self.path} has {found.st_size} bytes where {size} were written", written=written)

    def _must_be_sealed(self, name: SegmentName) -> None:
        """Between the last look and the rename somebody may have put another file in
        place of this one.
        """
        sealed = self._data.log / name.file
        if is_same_file(sealed, self._descriptor):
            return
        # A fold may have seen it already. So it keeps the name and the number, and ours
        # gets the next one.
        with suppress(FileNotFoundError), sealed.open("rb") as other:
            publish(
                self._data.log / name.checksum, sha256_line(hashlib.file_digest(other, "sha256").hexdigest(), name.file)
            )
        self.sequence += 1
        raise SegmentMoved(f"{self.path} was replaced while it was being sealed", written=False)

    def _copy(self, beside: Path, size: int, sha256: str) -> None:
        """Write the first `size` bytes of the file to another, if they are what was
        written to it.
        """
        found = os.fstat(self._descriptor).st_size
        if found < size:
            raise SegmentTruncated(f"{self.path} was truncated: it has {found} bytes where {size} were written")
        copied = hashlib.sha256()
        with beside.open("xb") as file:
            for offset in range(0, size, _COPY_BLOCK):
                block = os.pread(self._descriptor, min(_COPY_BLOCK, size - offset), offset)
                copied.update(block)
                file.write(block)
        if copied.hexdigest() != sha256:
            raise SegmentTruncated(
                f"{self.path} was written to by somebody else: it does not hold what was written to it"
            )

    def _rename(self, name: SegmentName) -> None:
        try:
            self.path.rename(self._data.log / name.file)
        except FileNotFoundError:
            remove([self._data.log / name.checksum])
            raise SegmentMoved(f"{self.path} was renamed or deleted while it was being sealed", written=False) from None
        sync_directory(self._data.log)

    def _remove_empty(self) -> None:
        try:
            if is_same_file(self.path, self._descriptor):
                self.path.unlink()
                sync_directory(self._data.log)
        finally:
            self.abandon()


def _no_sync(_descriptor: int) -> None:
    """FOLDLOG_DURABILITY=os: the operating system writes when it likes; answers are
    202.
    """


def _create_locked(path: Path) -> int:
    for _ in range(_CREATE_TRIES):
        descriptor = _try_to_create_locked(path)
        if descriptor is not None:
            return descriptor
    raise FileNotFoundError(errno.ENOENT, "removed each time that it was created", str(path))


def _try_to_create_locked(path: Path) -> int | None:
    """None when a recovery took it for an orphan, between open and lock, and removed it
    for being empty.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o640)
    try:
        lock_descriptor(descriptor)
        made = is_same_file(path, descriptor)
        if made:
            os.fsync(descriptor)
            sync_directory(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    if made:
        return descriptor
    os.close(descriptor)
    return None
