"""How much room there is. An operator may mount a disk of its own in any directory of
the data, `log/` before all; the one with the least room decides (P10).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from shared.disk.layout import DataDirectory


class Room(NamedTuple):
    """The file system below a directory."""

    directory: Path
    free_bytes: int
    total_bytes: int
    free_files: int
    total_files: int


def directories(data: DataDirectory) -> list[Path]:
    """Those that Foldlog writes to, as far as they exist."""
    below = (data.log, *data.part_folders, data.quarantine, data.private, data.run, data.spill, data.report_spill)
    return [directory for directory in (data.root, *below) if os.path.isdir(directory)]


def least_room(data: DataDirectory) -> Room:
    """The one with the fewest bytes free. Raises OSError."""
    return min(map(room_in, directories(data) or [data.root]), key=lambda room: room.free_bytes)


def room_in(directory: Path) -> Room:
    found = os.statvfs(directory)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return Room(directory, free, total, found.f_favail, found.f_files)
