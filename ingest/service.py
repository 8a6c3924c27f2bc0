"""What a worker's handlers share: made once at start, handed to them through the aiohttp application."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.keyring import Keyring
from ingest.reader import Reader
from ingest.visitor import VisitorHash
from ingest.writer import GroupCommitWriter, Log
from shared.layout import DataDirectory
from shared.settings import Settings
from shared.timestamps import now_ms

DISK_LOOK_S = 1.0


@dataclass
class Service:
    """One worker: its settings, its log writer, its keys, its way to the reports."""

    settings: Settings
    data: DataDirectory
    writer: GroupCommitWriter
    keyring: Keyring
    visitor_hash: VisitorHash
    reader: Reader
    log: Log
    now_ms: Callable[[], int] = now_ms
    under_way: int = 0  # requests that are being answered
    _disk_looked_at: float = field(default=-DISK_LOOK_S, init=False)
    _disk_free: int | None = field(default=None, init=False)

    @property
    def stored_status(self) -> int:
        """P1: 200 only where every accepted event was synced."""
        return 200 if self.settings.durability == "fsync" else 202

    def disk_free(self) -> int | None:
        """Bytes left for the data directory, looked up once a second; None when that cannot be told."""
        now = time.monotonic()
        if now - self._disk_looked_at >= DISK_LOOK_S:
            self._disk_looked_at = now
            try:
                found = os.statvfs(self.data.root)
                self._disk_free = found.f_bavail * found.f_frsize
            except OSError:
                self._disk_free = None
        return self._disk_free
