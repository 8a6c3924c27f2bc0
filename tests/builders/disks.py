"""Small disks that can really be full, for tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A tmpfs of its own: a disk that can really be full."""
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], check=False)  # noqa: S607
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)  # noqa: S607


def fill(ballast: Path, left: int) -> None:
    """Take what is free, but for so many bytes."""
    ballast.touch()
    disk = os.statvfs(ballast)
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - left)
        while not left:  # what became free meanwhile
            file.seek(0, os.SEEK_END)
            file.write(bytes(1 << 12))


MEMORY = Path("/dev/shm")  # noqa: S108


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """In memory where there is such a place: thousands of files are made here, each
    with two fsyncs.
    """
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }
