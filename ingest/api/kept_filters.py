"""Goals and saved filters as a worker last read them: the file is read again once it
has changed, so that what one worker, or an editor, wrote is known to all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from reports.filters import parse_filter
from reports.kinds import goals
from reports.query_error import QueryError
from shared.disk.layout import DataDirectory
from shared.kept_entries import Found
from shared.log import Log
from shared.named_filters import NamedFilter, of_kind, read_named_filters

# A damaged file is read again that soon, whatever requests ask: a mend of its mode or
# of the disk shows in no stamp.
DAMAGED_AGAIN_S = 5.0
# For how many choices of sites the goals are kept as a text.
_REMEMBERED = 100


def of_sites(entries: Iterable[NamedFilter], sites: tuple[str, ...] | None) -> list[NamedFilter]:
    """Those that may be seen where only some sites may be: their filter keeps events of
    these sites alone (`site==`). Any other may be about another site. None: all.
    """
    return [each for each in entries if sites is None or _is_of_sites(each.filter, sites)]


def _is_of_sites(text: str, sites: tuple[str, ...]) -> bool:
    try:
        conditions = parse_filter(text)
    except QueryError:
        return False
    return any(each.field == "site" and each.operator == "==" and {*each.values} <= {*sites} for each in conditions)


class KeptFilters:
    """What goals.json holds."""

    def __init__(self, data: DataDirectory, log: Log) -> None:
        self._data, self._log = data, log
        self._stamp: tuple[int, ...] | None = None
        self._found = Found[NamedFilter]()
        self._goals: dict[tuple[str, ...] | None, str] = {}
        self._read_at = 0.0

    async def read(self) -> Found[NamedFilter]:
        """What the file holds now. Raises nothing for what is wrong with it."""
        stamp = self._stamp_of_file()
        is_due = bool(self._found.damage) and time.monotonic() - self._read_at >= DAMAGED_AGAIN_S
        if stamp != self._stamp or is_due:
            found = await asyncio.to_thread(read_named_filters, self._data)
            self._report(found.damage)
            self._stamp, self._found, self._read_at = stamp, found, time.monotonic()
            self._goals = {}
        return self._found

    async def goals_parameter(self, sites: tuple[str, ...] | None) -> str:
        """The goals as a report gets them, those of some sites only or all: one text
        for all questions about them.
        """
        found = await self.read()
        if sites not in self._goals:
            if len(self._goals) >= _REMEMBERED:
                self._goals.clear()
            self._goals[sites] = goals.given(of_sites(of_kind(found, "goal"), sites))
        return self._goals[sites]

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
