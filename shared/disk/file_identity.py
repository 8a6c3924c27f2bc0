"""Whether a file is still the one that it was, without reading it."""

from __future__ import annotations

from pathlib import Path

# What changes when a file is replaced or written to: inode, length, mtime, ctime.
FileIdentity = tuple[int, int, int, int]


def file_identity(path: Path, *, follow_symlinks: bool = True) -> FileIdentity:
    found = path.stat(follow_symlinks=follow_symlinks)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
