"""Share links as a worker last read them: the file is read again once it has changed,
so that a link that any process revoked is gone with the next request.
"""

from __future__ import annotations

import asyncio

from ingest.http.reread_file import RereadFile
from ingest.share_links.links import LinksFile, ShareLink
from ingest.share_links.links_file import read_links
from shared.disk.layout import DataDirectory
from shared.log import Log


class KnownLinks:
    """What shares.json holds."""

    def __init__(self, data: DataDirectory, log: Log) -> None:
        self._data, self._log = data, log
        self._file = RereadFile(data.shares, self._report)
        self._found = LinksFile()

    async def valid(self, link_id: str, at_ms: int) -> ShareLink | None:
        """A link that is neither revoked nor expired."""
        found = await self.read()
        link = next((each for each in found.links if each.id == link_id), None)
        return None if link is None or link.has_expired(at_ms) else link

    async def read(self) -> LinksFile:
        """What the file holds now. Raises nothing for what is wrong with it."""
        seen = self._file.due()
        if seen is not None:
            self._found = await asyncio.to_thread(read_links, self._data)
            self._file.was_read(seen, self._found.damage)
        return self._found

    def _report(self, damage: str) -> None:
        if damage:
            self._log.error("shares_damaged", path=str(self._data.shares), reason=damage)
