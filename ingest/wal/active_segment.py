"""The active segment: the one file that this writer appends to, and the rules for doing
so (P1, P3, P4).

Open means locked: the lock is on the segment's own descriptor, so it is free exactly
when its writer has ended. Every commit checks the file before its write and after its
sync. Once the file was displaced (renamed, replaced, deleted or truncated), nothing
more is acknowledged into it. Its lines are read through the descriptor and sealed as a
copy; those of a truncated file are lost.
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

from shared.disk.durable import FILE_MODE, PRIVATE_MODE, publish, publishing, remove, sync_directory
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
    """A sync failed, so the bytes on disk are unknown: never sync or append again."""


class SegmentDisplaced(CommitFailed):
    """Another program renamed, truncated, replaced or deleted the segment. `written`:
    the group was written to it before that was noticed.

    The segment is still open and locked: seal_copy() or close() it.
    """

    def __init__(self, message: str, *, written: bool) -> None:
        super().__init__(message)
        self.written = written


class SegmentTruncated(CommitFailed):
    """Acknowledged lines are missing from the segment, so it cannot be copied."""


class ActiveSegment:
    """An open segment. Not thread-safe: it belongs to the writer thread."""

    def __init__(self, data: DataDirectory, writer: str, sequence: int, durability: Literal["fsync", "os"]) -> None:
        """Create and lock it. Raises FileExistsError when there is one (recover it
        first), OSError when it cannot be created.
        """
        self.writer = writer
        self.sequence = sequence
        self.begun_as = sequence  # sealed as a copy it may get another number
        self.path = data.active(writer)
        self._name = str(
            self.path
        )  # for the lstat before every commit: converting the Path would cost more than the call
        self.bytes = 0
        self.lines = 0
        self.synced_s = 0.0  # how long the last sync took
        self._data = data
        self._sync: Callable[[int], None] = os.fdatasync if durability == "fsync" else _no_sync
        self._sha256 = hashlib.sha256()
        self._descriptor = _create_locked(self.path)
        created = os.fstat(self._descriptor)
        self._identity = (created.st_ino, created.st_dev, 1)

    def commit(self, blob: bytes, lines: int, on_written: Callable[[], None] | None = None) -> None:
        """Append whole lines. When it returns they are on disk and may be acknowledged;
        when it raises CommitFailed they must not be. `on_written` is called before the
        sync.
        """
        self._check_identity(self.bytes, written=False)
        self._write(blob)
        if on_written:
            on_written()
        started = time.perf_counter()
        try:
            self._sync(self._descriptor)
        except OSError as error:
            # A failed sync is never repeated: the kernel may have dropped the dirty
            # pages, and report success for the next one.
            raise SegmentSuspect(f"cannot sync {self.path}: {error.strerror}") from error
        self.synced_s = time.perf_counter() - started
        self._check_identity(self.bytes + len(blob), written=True)
        self._sha256.update(blob)
        self.bytes += len(blob)
        self.lines += lines

    def is_ours(self) -> bool:
        """Whether the name still leads to the file that this writer created and locked.
        From any thread.
        """
        try:
            found = os.lstat(self._name)
        except OSError:
            return False
        return (found.st_ino, found.st_dev, found.st_nlink) == self._identity

    def check_unchanged(self) -> None:
        """Raises SegmentDisplaced if another program touched the segment since the last
        commit.
        """
        self._check_identity(self.bytes, written=False)

    def seal(self) -> SegmentName | None:
        """Close the segment under its final name. An empty one is removed instead:
        None. Raises SegmentDisplaced.
        """
        if not self.lines:
            self._remove_empty()
            return None
        name = SegmentName(self.writer, self.sequence, current_second())
        self._check_identity(self.bytes, written=False)
        try:
            os.fsync(self._descriptor)
            publish(self._data.log / name.checksum, sha256_line(self._sha256.hexdigest(), name.file))
            self._check_identity(self.bytes, written=False)
            self._rename(name)
            self._check_sealed(name)
        except SegmentDisplaced:
            raise
        except BaseException:
            self.close()
            raise
        self.close()
        return name

    def seal_copy(self, blob: bytes = b"", lines: int = 0) -> SegmentName | None:
        """Seal a copy of a displaced segment, and close it. None when it is empty.

        `blob` is a group of `lines` lines that was written and synced, but not
        acknowledged: once this returns, it may be. Raises SegmentTruncated when the
        bytes are no longer there. After any other OSError it may be called again.
        """
        # A file that was put in its place may have been recovered meanwhile, under this
        # segment's number.
        used = (segment.name.sequence for segment in sealed_segments(self._data) if segment.name.writer == self.writer)
        name = SegmentName(self.writer, max(self.sequence, max(used, default=0) + 1), current_second())
        sha256 = self._sha256.copy()
        sha256.update(blob)
        if self.lines + lines:
            if (
                not self._data.log.is_dir()
            ):  # publishing would create it, on the wrong disk if one is unmounted for a moment
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._data.log))
            with publishing(self._data.log / name.file) as beside:
                self._copy(beside, self.bytes + len(blob), sha256.hexdigest())
                publish(self._data.log / name.checksum, sha256_line(sha256.hexdigest(), name.file))
        self.close()
        return name if self.lines + lines else None

    def seal_as_suspect(self) -> SegmentName | None:
        """Seal without a sync and without a `.sha256`: the fold then trusts a line
        by its CRC alone. None when that fails.
        """
        name = SegmentName(self.writer, self.sequence, current_second())
        try:
            self._check_identity(os.fstat(self._descriptor).st_size, written=False)
            self._rename(name)
        except OSError:
            return None  # the lock is freed below, so the next start recovers the file
        finally:
            self.close()
        return name

    def close(self) -> None:
        """Close the file as it is, which frees the lock."""
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

    def _check_identity(self, size: int, *, written: bool) -> None:
        """Raise SegmentDisplaced unless inode, link count and size are as this writer
        left them: before a write those of the file behind the name, after it those of
        the descriptor.

        One call is enough before a write: if the name leads to our inode, its lstat is
        the fstat of the descriptor.
        """
        try:
            found = os.fstat(self._descriptor) if written else os.lstat(self._name)
        except FileNotFoundError:
            found = None
        if found is None or (found.st_ino, found.st_dev, found.st_nlink) != self._identity:
            raise SegmentDisplaced(f"{self.path} was renamed or deleted while it was open", written=written)
        if found.st_size != size:
            raise SegmentDisplaced(f"{self.path} has {found.st_size} bytes where {size} were written", written=written)

    def _check_sealed(self, name: SegmentName) -> None:
        """Between the last check and the rename another file may have been put in place
        of this one.
        """
        sealed = self._data.log / name.file
        if is_same_file(sealed, self._descriptor):
            return
        # A fold may have read it already. So it keeps name and number, and this segment
        # gets the next ones.
        with suppress(FileNotFoundError), sealed.open("rb") as other:
            publish(
                self._data.log / name.checksum, sha256_line(hashlib.file_digest(other, "sha256").hexdigest(), name.file)
            )
        self.sequence += 1
        raise SegmentDisplaced(f"{self.path} was replaced while it was being sealed", written=False)

    def _copy(self, beside: Path, size: int, sha256: str) -> None:
        """Copy the first `size` bytes. Raises SegmentTruncated when they are not the
        ones that this writer wrote.
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
            raise SegmentTruncated(f"{self.path} was overwritten by another program")

    def _rename(self, name: SegmentName) -> None:
        try:
            self.path.rename(self._data.log / name.file)
        except FileNotFoundError:
            remove([self._data.log / name.checksum])
            raise SegmentDisplaced(
                f"{self.path} was renamed or deleted while it was being sealed", written=False
            ) from None
        with suppress(OSError):  # it is sealed either way
            os.fchmod(self._descriptor, FILE_MODE)
        sync_directory(self._data.log)

    def _remove_empty(self) -> None:
        try:
            if is_same_file(self.path, self._descriptor):
                self.path.unlink()
                sync_directory(self._data.log)
        finally:
            self.close()


def _no_sync(_descriptor: int) -> None:
    """FOLDLOG_DURABILITY=os: the system decides when it writes; answers are 202."""


def _create_locked(path: Path) -> int:
    for _ in range(_CREATE_TRIES):
        descriptor = _try_to_create_locked(path)
        if descriptor is not None:
            return descriptor
    raise FileNotFoundError(errno.ENOENT, "removed each time it was created", str(path))


def _try_to_create_locked(path: Path) -> int | None:
    """None when a recovery removed the empty file between open and lock, because
    without a lock it looks abandoned. Its group may read it only once it is sealed: a
    member of it could take the lock when the writer has died, and keep it.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_MODE)
    try:
        lock_descriptor(descriptor)
        is_in_place = is_same_file(path, descriptor)
        if is_in_place:
            os.fsync(descriptor)
            sync_directory(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    if is_in_place:
        return descriptor
    os.close(descriptor)
    return None
