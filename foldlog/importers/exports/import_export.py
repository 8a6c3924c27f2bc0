"""An export of another tool becomes events, row by row; docs/import.md says of which
tools, and what can become an event.

A file is read in pieces, whatever it is packed in, and its events are appended about
2 MiB at once. A repeated import, a longer export and an import that was cut off give
the same ids.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import BinaryIO, NamedTuple, cast

from foldlog.importers.append import Target
from foldlog.importers.decompress import pieces
from foldlog.importers.exports import goatcounter, matomo, umami
from foldlog.importers.exports.archive import Archive
from foldlog.importers.exports.event import Row, Rules, made
from foldlog.importers.exports.kinds import (
    GA4,
    GOATCOUNTER,
    MATOMO,
    NAMES,
    PLAUSIBLE,
    TOOLS,
    ZIP,
    beginning,
    kind_of,
    kind_of_members,
    kind_of_text,
    sums_of_members,
    table_of,
)
from foldlog.importers.exports.limits import BrokenExport, guarded
from foldlog.importers.exports.records import Records, Table
from foldlog.importers.exports.sums import Sums, report_tables, table_sums
from foldlog.importers.exports.totals import Totals
from foldlog.importers.exports.visits import Objects
from foldlog.importers.inputs import Input
from foldlog.importers.occurrences import Occurrences
from shared.disk.compression import DecompressionError
from shared.settings import SettingsError

_BATCH_BYTES = 2 << 20
_BATCH_ROWS = 8192


class _Content(NamedTuple):
    """What is read of a file: how it is read, whose export it is, and its texts by
    name.
    """

    kind: str
    tool: str
    texts: list[tuple[str, Iterable[bytes]]]


class _Counted:
    """A file or pipe, and how much of it was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.taken = 0

    def read(self, size: int) -> bytes:
        found = self._file.read(size)
        self.taken += len(found)
        return found


def is_export(raw: BinaryIO, format_: str) -> bool:
    """Whether a file is imported here: the operator says so, or how it begins."""
    return format_ in NAMES or (format_ == "auto" and kind_of(raw) is not None)


class ExportImport:
    """The import of one file. Raises BrokenExport, SettingsError without a site, and
    DecompressionError behind the last row that could be read.
    """

    def __init__(self, file: Input, format_: str, rules: Rules, target: Target) -> None:
        self._file, self._format, self._rules, self._target = file, format_, rules, target
        self._done = target.done
        # Where rows have no id, the second of two equal ones is another event.
        self._occurrences: Occurrences | None = None

    async def run(self, raw: BinaryIO, progress: Callable[[int], None]) -> None:
        content = self._content(raw)
        if content.kind in (PLAUSIBLE, GA4):
            self._done.sums.append(self._sums(content))
            return
        self._occurrences = Occurrences() if content.kind == GOATCOUNTER else None
        totals = Totals(self._file.name, content.tool)
        self._done.totals.append(totals)
        rows = itertools.chain.from_iterable(
            _rows(content.kind, text, name, self._rules, totals) for name, text in content.texts
        )
        await self._append(rows, totals, lambda: progress(raw.tell() if self._file.size else 0))

    def _content(self, raw: BinaryIO) -> _Content:
        if kind_of(raw) == ZIP:
            return self._members(Archive(raw, self._file.name))
        counted = _Counted(raw)
        text = guarded(pieces(cast("BinaryIO", counted)), lambda: counted.taken, self._file.name)
        return self._known(text, self._file.name)

    def _known(self, text: Iterator[bytes], name: str) -> _Content:
        first = beginning(text)
        kind = self._format if self._format in NAMES else kind_of_text(first)
        if kind is None:
            raise BrokenExport(f"{name} is no export that is known: name its format with --format ({', '.join(NAMES)})")
        return _Content(kind, TOOLS[kind], [(name, itertools.chain([first], text))])

    def _members(self, archive: Archive) -> _Content:
        names = list(archive.members)
        name = self._file.name
        if sums := sums_of_members(names):
            return _Content(PLAUSIBLE, TOOLS[sums], [])
        found = kind_of_members(names)
        if found is None and len(names) == 1:
            return self._known(archive.pieces(names[0]), f"{name}: {names[0][:80]}")
        if found is None or self._format not in ("auto", found[0]):
            wanted = "a known export" if self._format == "auto" else f"an export of {TOOLS[self._format]}"
            raise BrokenExport(f"{name} is a zip, and not {wanted}: docs/import.md lists the files that are looked for")
        texts: list[tuple[str, Iterable[bytes]]] = [(f"{name}: {each}", archive.pieces(each)) for each in found[1]]
        return _Content(found[0], TOOLS[found[0]], texts)

    def _sums(self, content: _Content) -> Sums:
        sums = Sums(self._file.name, content.tool)
        for name, text in content.texts:
            if content.kind == GA4:
                sums.tables += report_tables(text, name)
            else:
                sums.tables.append(table_sums(text, name, table_of(PurePath(name.rpartition(": ")[2]).name)))
        return sums

    async def _append(self, rows: Iterable[Row], totals: Totals, progress: Callable[[], None]) -> None:
        """Append the events of the rows, those before an error as well."""
        events: list[bytes] = []
        waiting = 0
        try:
            for number, row in enumerate(rows):
                event = self._take(row, totals)
                events += [event] if event else []
                waiting += len(event)
                if waiting >= _BATCH_BYTES or number % _BATCH_ROWS == _BATCH_ROWS - 1:
                    await self._target.append(self._numbered(events))
                    events, waiting = [], 0
                    progress()
        except (BrokenExport, DecompressionError):
            await self._flush(events)
            raise
        await self._flush(events)

    async def _flush(self, events: list[bytes]) -> None:
        await self._target.append(self._numbered(events))
        await self._target.wait()

    def _numbered(self, events: list[bytes]) -> list[bytes]:
        return self._occurrences.number(events) if self._occurrences is not None else events

    def _take(self, row: Row, totals: Totals) -> bytes:
        """The event of a row; empty where it is none, which is counted with why."""
        self._done.lines += 1
        totals.listed[row.kind] += 1
        if row.also:
            totals.besides[row.also] += 1
        found = made(row.hit, self._rules) if row.hit is not None else None
        why = row.why or (found.why if found is not None else 0)
        if why or found is None:
            self._done.add(why, 1, self._file.name, row.line, row.text)
            return b""
        totals.appended[row.kind] += 1
        return found.event


def _rows(kind: str, text: Iterable[bytes], name: str, rules: Rules, totals: Totals) -> Iterator[Row]:
    if kind == MATOMO:
        yield from _visits(text, name, totals)
        return
    table = Table(Records(text, name))
    if kind == GOATCOUNTER:
        yield from goatcounter.rows(_checked(table, kind, name, rules))
    else:
        yield from umami.rows(_checked(table, kind, name, rules), rules.zone)


def _visits(text: Iterable[bytes], name: str, totals: Totals) -> Iterator[Row]:
    for found in Objects(text, name):
        visit = matomo.visit_of(found, name)
        if visit is not None:
            totals.said.update(matomo.said(visit))
            totals.besides[matomo.VISITS] += 1
        yield from matomo.rows(found, visit)


def _checked(table: Table, kind: str, name: str, rules: Rules) -> Table:
    """A table that has the columns of its kind, and a site for its rows."""
    if kind == GOATCOUNTER and table.header:
        goatcounter.check_version(table, name)
    needed = goatcounter.NEEDED if kind == GOATCOUNTER else umami.NEEDED
    missing = [each for each in needed if each not in table.header]
    if missing:
        raise BrokenExport(
            f"{name} line 1: an export of {TOOLS[kind]} has the columns {', '.join(needed)}, with commas between them; "
            f"missing: {', '.join(missing)}"
        )
    if rules.site.first is None and "hostname" not in table.header:
        raise SettingsError(f"{name} does not say its site: add --site example.com")
    return table
