"""Goals and saved filters as a worker last read them: the file is read again once it
has changed, so that what one worker, or an editor, wrote is known to all.
"""

from __future__ import annotations

import asyncio
import time

from reports.kinds import goals
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.named_filters import NamedFiltersFile, read_named_filters

# A damaged file is read again that soon, whatever requests ask: a mend of its mode or
# of the disk shows in no stamp.
DAMAGED_AGAIN_S = 5.0


class KeptFilters:
    """What goals.json holds."""

    def __init__(self, data: DataDirectory, log: Log) -> None:
        self._data, self._log = data, log
        self._stamp: tuple[int, ...] | None = None
        self._found = NamedFiltersFile()
        self._goals = goals.given(())
        self._read_at = 0.0

    async def read(self) -> NamedFiltersFile:
        """What the file holds now. Raises nothing for what is wrong with it."""
        stamp = self._stamp_of_file()
        is_due = bool(self._found.damage) and time.monotonic() - self._read_at >= DAMAGED_AGAIN_S
        if stamp != self._stamp or is_due:
            found = await asyncio.to_thread(read_named_filters, self._data)
            self._report(found.damage)
            self._stamp, self._found, self._read_at = stamp, found, time.monotonic()
            self._goals = goals.given(found.of("goal"))
        return self._found

    async def goals_parameter(self) -> str:
        """The goals as a report gets them: one text for all questions about them."""
        await self.read()
        return self._goals

    def _stamp_of_file(self) -> tuple[int, ...] | None:
        """Changes whenever the file does; None without one."""
        try:
            found = self._data.goals.lstat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _report(self, damage: str) -> None:
        if damage == self._found.damage:
            return
        path = str(self._data.goals)
        if damage:
            self._log.error("goals_damaged", path=path, reason=f"{damage}; `foldlog doctor` says what to do")
        else:
            self._log.info("goals_readable", path=path)
