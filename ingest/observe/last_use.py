"""When a token or share link was last used, to within a minute: the modification time
of a mark in `run/`, on this host. It costs a request at most one write a minute, in a
thread, and no sync.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shared.disk.durable import remove
from shared.disk.layout import DataDirectory
from shared.disk.marks import read_mark, set_mark

EVERY_MS = 60_000


class LastUse:
    """`id` is that of a token or of a link."""

    def __init__(self, data: DataDirectory) -> None:
        self._data = data
        self._noted: dict[str, int] = {}
        self._writing: set[asyncio.Future[None]] = set()

    def note(self, id_: str, at_ms: int) -> None:
        """It is used now."""
        if not id_ or at_ms - self._noted.get(id_, -EVERY_MS) < EVERY_MS:
            return
        self._noted[id_] = at_ms
        writing = asyncio.get_running_loop().run_in_executor(None, self._write, id_, at_ms)
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    def _write(self, id_: str, at_ms: int) -> None:
        with suppress(OSError):  # such as a full disk: what it is about goes on
            set_mark(self._data.last_use(id_), at_ms)

    def read(self, id_: str) -> int | None:
        """UTC milliseconds; None where no use is known."""
        return read_mark(self._data.last_use(id_))

    def forget(self, id_: str) -> None:
        """It is revoked."""
        self._noted.pop(id_, None)
        with suppress(OSError):
            remove([self._data.last_use(id_)])
