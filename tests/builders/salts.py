"""The salt of a day as hosts of a store share it: hosts with a clock of their own, and
what the store has.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compactor.publishing.instance import instance_id
from ingest.collect.visitor_id import VisitorHash
from ingest.sharing.salt import SharedSalt
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.timestamps import now_ms
from tests.builders.silent_log import SilentLog

ADDRESS = "203.0.113.77"
UA = "Mozilla/5.0 (X11; Linux x86_64)"
SITE = "example.com"


def zone_before_midnight() -> str:
    """A zone in which it is between 23:00 and midnight now."""
    ahead = 23 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead <= 14 else f"Etc/GMT{24 - ahead:+d}"


class SaltHost:
    """The salt of one host. `clock_ms` is its clock, which stands."""

    def __init__(self, root: Path, address: str, timezone: str = "UTC") -> None:
        self.data = DataDirectory(root)
        make_data_directory(self.data)
        self.settings = Settings(data_dir=root, store=address, timezone=timezone)
        self.clock_ms = now_ms()
        self.log = SilentLog()
        self.shared = self.restarted()
        self._hash = VisitorHash(self.data, self.settings)

    def restarted(self) -> SharedSalt:
        """The salt of a new worker, which asks the store."""
        self.shared = SharedSalt(self.data, self.settings, self.log, lambda: self.clock_ms)
        return self.shared

    def ask(self) -> None:
        """The first turn of a new worker."""
        self.restarted().turn()

    @property
    def instance(self) -> str:
        return instance_id(self.data)

    @property
    def file(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data.salt.read_bytes())
        return found

    def visitor(self) -> str:
        """The hash of one visitor, received now."""
        return self._hash(self.clock_ms, SITE, ADDRESS, UA).today
