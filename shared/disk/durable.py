"""The one way to write a file: beside the target, fsync, rename, fsync the directory
(P5).

A reader sees the old file or none before the rename and the complete new one after it,
even if the process is killed in between. Every file of the data directory except the
active segments is written here. Creating directories and removing files also fsyncs
the parent: a power cut may undo a rename or an unlink that is not synced.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.disk.layout import TEMP_SUFFIX, DataDirectory

FILE_MODE = 0o640
PRIVATE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


@contextmanager
def publishing(target: Path, mode: int = FILE_MODE) -> Iterator[Path]:
    """Yield a path beside `target` for the caller to write. It is published when the
    block ends, and removed if the block raises.
    """
    make_directory(target.parent)
    # Several processes or threads may publish one target (control files, tokens): each
    # needs a temporary file of its own.
    beside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_native_id()}{TEMP_SUFFIX}")
    beside.unlink(missing_ok=True)
    try:
        yield beside
        descriptor = os.open(beside, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.rename(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def publish(target: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Publish `content` as `target`."""
    with publishing(target, mode) as beside, open(beside, "xb", opener=_private_opener) as file:
        file.write(content)


def _private_opener(path: str, flags: int) -> int:
    # A secret must never be readable by other users: publishing() widens the mode
    # afterwards.
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_MODE)


def move(source: Path, target: Path) -> None:
    """Rename within a directory, whatever the entry is, also one that cannot be
    read.
    """
    source.rename(target)
    sync_directory(target.parent)


def hard_link(source: Path, target: Path) -> None:
    """Give a published file a second name, which keeps the content when the first is
    replaced. The next publish syncs it.
    """
    target.unlink(missing_ok=True)
    os.link(source, target)


def remove(paths: Iterable[Path]) -> int:
    """Delete files, then sync their directories. Returns how many existed."""
    directories = set()
    removed = 0
    for path in paths:
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        removed += 1
        directories.add(path.parent)
    for directory in directories:
        sync_directory(directory)
    return removed


def remove_empty_directory(path: Path) -> None:
    """Remove a directory if it is empty."""
    try:
        path.rmdir()
    except OSError:
        return
    sync_directory(path.parent)


def make_directory(path: Path, mode: int = 0o750) -> None:
    """Create a directory and its parents durably.

    An empty directory may be all that a process left that failed or died before it
    synced the parent, so the parent is synced again. Nothing is written to a directory
    before that.
    """
    if path.is_dir():
        if not _is_empty(path):
            return
        with suppress(PermissionError):  # a directory that an operator made, in one that is not ours
            sync_directory(path.parent)
        return
    make_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=mode)
        path.chmod(mode)  # whatever the umask leaves of it
    sync_directory(path.parent)


def _is_empty(path: Path) -> bool:
    """False also of a directory that may not be listed: what is done in it next says
    so.
    """
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except PermissionError:
        return False


def make_data_directory(data: DataDirectory) -> None:
    """Create the directories that the first event needs."""
    for directory in (data.root, data.log, *data.part_folders, data.quarantine):
        make_directory(directory)
    for directory in (data.private, data.run):
        make_directory(directory, PRIVATE_DIRECTORY_MODE)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def scratch(data: DataDirectory) -> Iterator[Path]:
    """An empty directory for working files on the disk of the data, deleted afterwards.
    The caller holds the compactor's lock.
    """
    shutil.rmtree(data.spill, ignore_errors=True)
    data.spill.mkdir(mode=0o700, exist_ok=True)
    try:
        yield data.spill
    finally:
        shutil.rmtree(data.spill, ignore_errors=True)
