"""Exports that have sums by day and no events, which are read and not imported: an
event has a time and a visitor, and none is made up.

What such a file says is added up, so that it can be compared with the tool it is from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from foldlog.importers.exports.records import Records, Table
from shared.control_chars import printable

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE = re.compile(r"[0-9]{1,20}")
_COUNTS = ("visitors", "visits", "pageviews", "events")
_SHOWN = 8


@dataclass
class TableSums:
    """What a table has: rows, days from `first` to `last`, and the sums of columns."""

    name: str
    rows: int = 0
    bad: int = 0
    first: str = ""
    last: str = ""
    sums: dict[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def line(self) -> str:
        """`imported_pages: 9 rows, 2023-02-09 to 2023-02-10: visitors 12, …`"""
        days = f", {self.first} to {self.last}" if self.first else ""
        found = ", ".join(f"{name} {total:,}" for name, total in self.sums.items())
        found = found or ", ".join(self.columns)
        bad = f"; {self.bad:,} rows that are no such row" if self.bad else ""
        return f"  {self.name}: {self.rows:,} rows{days}: {found}{bad}"


@dataclass
class Sums:
    """What an export without events has."""

    file: str
    tool: str
    tables: list[TableSums] = field(default_factory=list)

    def lines(self) -> list[str]:
        head = f"{self.file}: an export of {self.tool}: sums, no events; nothing of it is imported"
        return [head, *(each.line() for each in self.tables), *self._compared()]

    def _compared(self) -> list[str]:
        """Whether the pages of Plausible have as many views as its days."""
        views = {each.name: each.sums.get("pageviews") for each in self.tables}
        days, pages = views.get("imported_visitors"), views.get("imported_pages")
        if days is None or pages is None:
            return []
        verdict = "equal" if days == pages else "unequal"
        return [f"  pageviews by day {days:,}, by page {pages:,}: {verdict}"]


def only_sums(file: str, tool: str) -> str:
    """Why nothing of a file was imported."""
    return (
        f"nothing of {file} was imported: this export of {tool} has sums, and no events. An event has a time and a "
        "visitor; made-up ones would give numbers that look exact and are not. Keep the file beside Foldlog's numbers; "
        "docs/import.md says which exports have events"
    )


def table_sums(pieces: Iterable[bytes], name: str, table: str) -> TableSums:
    """The sums of one CSV file with a header. Raises BrokenExport."""
    read = Table(Records(pieces, name))
    found = TableSums(table, sums={each: 0 for each in read.header if each in _COUNTS})
    for _, values in read.rows():
        if values is None or not all(_WHOLE.fullmatch(values[each]) for each in found.sums):
            found.bad += 1
            continue
        found.rows += 1
        for each in found.sums:
            found.sums[each] += int(values[each])
        day = values.get("date", "")
        if _DAY.fullmatch(day):
            found.first, found.last = min(found.first or day, day), max(found.last, day)
    return found


def report_tables(pieces: Iterable[bytes], name: str) -> list[TableSums]:
    """The tables of a report of Google Analytics: each begins with its header, behind
    lines that begin with `#`. Raises BrokenExport.
    """
    tables: list[TableSums] = []
    is_header = True
    for _, values, _ in Records(pieces, name):
        if values is None or values[0].startswith("#"):
            is_header = True
        elif is_header:
            shown = tuple(printable(each[:40]) for each in values[:_SHOWN])
            tables.append(TableSums(f"table {len(tables) + 1}", columns=shown))
            is_header = False
        else:
            tables[-1].rows += 1
    return tables
