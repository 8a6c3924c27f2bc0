"""The one way to make a file: beside the target, fsync, rename, fsync the directory
(P5).

Before the rename readers see the old file or none, after it the whole new one, whatever
is killed in between. Everything under the data directory but the active segments is
made here. Directories are made and files removed here as well, each followed by the
directory's fsync: a rename or an unlink that is not synced may be undone by a power
cut.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.disk.layout import TEMPORARY_SUFFIX, DataDirectory

FILE_MODE = 0o640
PRIVATE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


@contextmanager
def publishing(target: Path, mode: int = FILE_MODE) -> Iterator[Path]:
    """Give the caller a path beside `target` to write to; publish it when the block
    ends, remove it when the block fails.
    """
    make_directory(target.parent)
    # Two processes, or threads of one, may publish the same target (requests, tokens):
    # each needs a file of its own beside it.
    beside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_native_id()}{TEMPORARY_SUFFIX}")
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
    # Secrets must not be readable by others for even a moment; publishing() opens the
    # mode up afterwards.
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_MODE)


def hard_link(source: Path, target: Path) -> None:
    """Give a published file a second name, so that replacing the first keeps the
    content. Not synced: the next publish is.
    """
    target.unlink(missing_ok=True)
    os.link(source, target)


def remove(paths: Iterable[Path]) -> int:
    """Delete files, then sync their directories; directories left empty below them
    stay. Returns how many were there.
    """
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
    """Remove a directory of parts once it is empty."""
    try:
        path.rmdir()
    except OSError:
        return
    sync_directory(path.parent)


def make_directory(path: Path, mode: int = 0o750) -> None:
    """Make a directory, and those above it, durably."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    sync_directory(path.parent)


def make_data_directory(data: DataDirectory) -> None:
    """Everything that must exist before the first event, and nothing more."""
    for directory in (data.root, data.log, data.archive, data.counters, data.quarantine):
        make_directory(directory)
    for directory in (data.private, data.run):
        make_directory(directory, PRIVATE_DIRECTORY_MODE)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def scratch(data: DataDirectory) -> Iterator[Path]:
    """An empty directory for working files on the data's own disk, gone afterwards; one
    holder at a time (the compactor).
    """
    shutil.rmtree(data.spill, ignore_errors=True)
    data.spill.mkdir(mode=0o700, exist_ok=True)
    try:
        yield data.spill
    finally:
        shutil.rmtree(data.spill, ignore_errors=True)
