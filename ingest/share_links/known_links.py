"""Share links as a worker last read them: the file is read again once it has changed,
so that a link that any process revoked is gone with the next request.
"""

from __future__ import annotations

import asyncio
import time

from ingest.share_links.links import LinksFile, ShareLink
from ingest.share_links.links_file import read_links
from shared.disk.layout import DataDirectory
from shared.log import Log

# A damaged file is read again that soon, whatever requests ask.
DAMAGED_AGAIN_S = 5.0


class KnownLinks:
    """What shares.json holds."""

    def __init__(self, data: DataDirectory, log: Log) -> None:
        self._data, self._log = data, log
        self._stamp: tuple[int, ...] | None = None
        self._found = LinksFile()
        self._read_at = 0.0

    async def valid(self, link_id: str, at_ms: int) -> ShareLink | None:
        """A link that is neither revoked nor expired."""
        found = await self.read()
        link = next((each for each in found.links if each.id == link_id), None)
        return None if link is None or link.has_expired(at_ms) else link

    async def read(self) -> LinksFile:
        """What the file holds now. Raises nothing for what is wrong with it."""
        stamp = self._stamp_of_file()
        is_due = bool(self._found.damage) and time.monotonic() - self._read_at >= DAMAGED_AGAIN_S
        if stamp != self._stamp or is_due:
            found = await asyncio.to_thread(read_links, self._data)
            if found.damage and found.damage != self._found.damage:
                self._log.error("shares_damaged", path=str(self._data.shares), reason=found.damage)
            self._stamp, self._found, self._read_at = stamp, found, time.monotonic()
        return self._found

    def _stamp_of_file(self) -> tuple[int, ...] | None:
        """Changes whenever the file does; None without one."""
        try:
            found = self._data.shares.lstat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
