"""Listing a directory, and the temporary files that a killed process left in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from shared.disk.layout import parse_temp


def list_files(directory: Path) -> list[Path]:
    """The entries of a directory, by name; none if it does not exist. Raises OSError if
    it cannot be listed.

    Not glob: it reports an unreadable directory as an empty one, and a sequence number
    would be used again.
    """
    return [directory / name for name in list_names(directory)]


def list_names(directory: Path) -> list[str]:
    """As `list_files`, names only: filtering a hundred thousand names costs a fraction
    of filtering paths.
    """
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def temp_files(directory: Path, is_target: Callable[[str], bool], idle_s: float = 0.0) -> Iterator[Path]:
    """Files in `directory` that were never renamed to their target: those whose target
    satisfies `is_target`.

    `idle_s` leaves out files modified within so many seconds. Without it, the caller
    must hold the lock under which they are made.
    """
    for path in list_files(directory):
        target = parse_temp(path.name)
        if target is None or not is_target(target):
            continue
        with suppress(FileNotFoundError):
            if not idle_s or abs(time.time() - path.stat().st_mtime) > idle_s:
                yield path
