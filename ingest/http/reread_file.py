"""When a file that requests ask for is read again, and what is logged of its damage."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from shared.disk.file_identity import FileIdentity, file_identity
from shared.log import Log

# A damaged file is read again that soon, whatever requests ask: it may be large, and a
# mend of its mode or of the disk shows in no stamp.
DAMAGED_AGAIN_S = 5.0


class Seen(NamedTuple):
    """A file before it is read. `stamp` changes whenever the file does; None without
    one.
    """

    stamp: FileIdentity | None


class RereadFile:
    """`on_damage` is told of a damage other than the one before (empty: none)."""

    def __init__(self, path: Path, on_damage: Callable[[str], None]) -> None:
        self._path, self._on_damage = path, on_damage
        self._stamp: FileIdentity | None = None
        self._damage = ""
        self._read_at = 0.0

    def due(self) -> Seen | None:
        """None where the file is as it was when it was read, or is damaged and was read
        just now.
        """
        seen = Seen(_stamp(self._path))
        is_due = bool(self._damage) and time.monotonic() - self._read_at >= DAMAGED_AGAIN_S
        return seen if seen.stamp != self._stamp or is_due else None

    def was_read(self, seen: Seen, damage: str) -> None:
        """The file that was `seen` is damaged like this, or (empty) is not."""
        self._stamp, self._read_at = seen.stamp, time.monotonic()
        if damage != self._damage:
            self._damage = damage
            self._on_damage(damage)


def logs_damage(log: Log, path: Path, damaged: str, readable: str) -> Callable[[str], None]:
    """One of these events for each change, for a file that doctor knows."""

    def on_damage(damage: str) -> None:
        if damage:
            log.error(damaged, path=str(path), reason=f"{damage}; `foldlog doctor` says what to do")
        else:
            log.info(readable, path=str(path))

    return on_damage


def _stamp(path: Path) -> FileIdentity | None:
    try:
        return file_identity(path, follow_symlinks=False)
    except OSError:
        return None
