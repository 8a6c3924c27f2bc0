"""Goals and saved filters as a worker last read them: the file is read again once it
has changed, so that what one worker, or an editor, wrote is known to all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ingest.http.reread_file import RereadFile, logs_damage
from reports.filters import parse_filter
from reports.kinds import goals
from reports.query_error import QueryError
from shared.disk.layout import DataDirectory
from shared.kept_entries import Found
from shared.log import Log
from shared.named_filters import NamedFilter, of_kind, read_named_filters

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
        self._data = data
        self._file = RereadFile(data.goals, logs_damage(log, data.goals, "goals_damaged", "goals_readable"))
        self._found = Found[NamedFilter]()
        self._goals: dict[tuple[str, ...] | None, str] = {}

    async def read(self) -> Found[NamedFilter]:
        """What the file holds now. Raises nothing for what is wrong with it."""
        seen = self._file.due()
        if seen is not None:
            self._found = await asyncio.to_thread(read_named_filters, self._data)
            self._file.was_read(seen, self._found.damage)
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
