"""`foldlog import`: the requests of access logs become events, appended by the writer
`import`. docs/import.md says what becomes an event and how it is recognised again.
Exports of other tools are read by exports/.

A block of whole lines is read, taken apart in DuckDB, numbered, appended durably, in
that order. While one block is appended, two others are taken apart. Memory is that of a
few blocks, whatever the file.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple
from zoneinfo import ZoneInfo

from foldlog.importers.append import Target, check_room
from foldlog.importers.block_parser import BlockParser, Parsed, Rules, Shape
from foldlog.importers.blocks import BLOCK_BYTES, Block, Blocks
from foldlog.importers.detect import candidates, detect, tried
from foldlog.importers.exports.event import Rules as ExportRules
from foldlog.importers.exports.import_export import ExportImport, is_export
from foldlog.importers.exports.kinds import NAMES as EXPORTS
from foldlog.importers.formats import LineFormat
from foldlog.importers.inputs import Input
from foldlog.importers.occurrences import Occurrences
from foldlog.importers.outcome import COMMENT, EVENT, NOT_UNDERSTOOD, TOO_LONG, Imported
from foldlog.importers.sources import LINES_MAX, Sources, named
from foldlog.importers.w3c import sections
from ingest.wal.commit_queue import CommitQueue
from shared.disk.compression import DecompressionError
from shared.disk.layout import IMPORT_WRITER, DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.log import Log
from shared.settings import Settings, SettingsError
from shared.timestamps import DAY_S

PARSERS = 2
# A server whose clock or zone is wrong by hours is imported; a year 9999 is not.
FUTURE_MAX_MS = DAY_S * 1000

Progress = Callable[[int], None]


class DamagedInput(TemporaryFailure):
    """What could be read of a file was appended."""


@dataclass(frozen=True)
class Request:
    """What the operator asks for."""

    format: str
    rules: Rules
    source: str | None = None
    dry_run: bool = False
    # Of times in an export that say none; UTC unless the operator names one.
    export_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))


class _Begun(NamedTuple):
    """A block that is being taken apart: how many lines of its file are before it.
    `parsed` gets what comes of it, for futures form cycles, which would keep it.
    """

    text: str
    before: int
    parsed: list[Parsed]
    ended: Future[None]


async def import_files(
    files: list[Input], request: Request, data: DataDirectory, settings: Settings, log: Log, progress: Progress
) -> Imported:
    """Append all events of the files durably, and seal. `progress` is called with the
    bytes that are done.

    Raises WriterAlive when another import is running, Unavailable when the disk is
    nearly full, DamagedInput behind the last line that could be read, OSError when a
    file cannot be read or the log cannot be written.
    """
    done = Imported()
    if request.format not in EXPORTS:
        candidates(request.format)
    if not request.dry_run:
        check_room(data, settings, done)
    writer = None if request.dry_run else CommitQueue(data, IMPORT_WRITER, settings, log)
    target = Target(writer, data, settings, done)
    try:
        with ThreadPoolExecutor(PARSERS, "import") as pool:
            parsers = [BlockParser(request.rules) for _ in range(PARSERS)]
            sources = Sources(data)
            for file in files:
                with file.open() as raw:
                    if is_export(raw, request.format):
                        await _import_export(file, raw, request, target, progress)
                    else:
                        await _FileImport(file, request, parsers, pool, sources, target).run(raw, progress)
    finally:
        if writer is not None:
            await writer.close()
    return done


async def _import_export(file: Input, raw: BinaryIO, request: Request, target: Target, progress: Progress) -> None:
    given = request.rules
    if request.source or given.forwarded or given.pages_only or given.not_found:
        options = "--source, --forwarded, --pages-only and --not-found"
        raise SettingsError(f"{file.name} is an export of another tool: {options} are for access logs")
    rules = ExportRules(given.site, given.latest_ms, request.export_zone)
    before = target.done.lines
    try:
        await ExportImport(file, request.format, rules, target).run(raw, progress)
    except DecompressionError as error:
        raise DamagedInput(_damage(file, error, target.done.lines - before, target.done)) from None


def _damage(file: Input, damage: DecompressionError, lines: int, done: Imported) -> str:
    return (
        f"{file.name}: {damage}; {lines:,} lines of it could be read, and {done.events:,} events were appended. "
        "Import the file again once it is whole: each counts once"
    )


class _FileImport:
    """The import of one file."""

    def __init__(
        self,
        file: Input,
        request: Request,
        parsers: list[BlockParser],
        pool: ThreadPoolExecutor,
        sources: Sources,
        target: Target,
    ) -> None:
        self._file, self._request, self._target = file, request, target
        self._pool, self._sources = pool, sources
        self._free = deque(parsers)
        self._begun: deque[_Begun] = deque()
        self._occurrences = Occurrences()
        self._done = target.done
        self._lines = 0
        self._understood = self._strange = 0
        self._source = ""
        self._shape: Shape | None = None
        self._w3c: LineFormat | None = None

    async def run(self, raw: BinaryIO, progress: Progress) -> None:
        blocks = Blocks(raw)
        for block in blocks:
            await self._add(block)
            progress(raw.tell() if self._file.size else 0)
        while self._begun:
            await self._finish_block()
        await self._target.wait()
        self._done.unfinished += blocks.unfinished
        if self._strange and not self._understood:
            self._done.strange.append(self._file.name)
        if blocks.damage is not None:
            raise DamagedInput(_damage(self._file, blocks.damage, self._lines, self._done))

    async def _add(self, block: Block) -> None:
        if block.too_long:
            self._lines += 1
            self._done.lines += 1
            line = block.too_long.decode("utf-8", "backslashreplace")
            self._done.add(TOO_LONG, 1, self._file.name, self._lines, line)
            return
        if not self._source:
            self._begin(block.content)
        text = block.content.decode("utf-8", "replace" if self._is_json() else "backslashreplace")
        for before, part, shape in self._sections(text):
            if shape is None:
                self._reject(part, self._lines + before)
                continue
            # Where lines come slowly a parser is always free, and blocks would wait for
            # the end.
            while not self._free or len(self._begun) > PARSERS:
                await self._finish_block()
            parser = self._free.popleft()
            parsed: list[Parsed] = []
            ended = self._pool.submit(_parse, parser, self._free, part, shape, self._source, parsed)
            self._begun.append(_Begun(part, self._lines + before, parsed, ended))
        lines = text.count("\n") + 1
        self._lines += lines
        self._done.lines += lines

    def _is_json(self) -> bool:
        return self._shape is not None and bool(self._shape.format.paths)

    def _sections(self, text: str) -> Iterator[tuple[int, str, Shape | None]]:
        if self._shape is not None:
            self._request.rules.site.check(self._shape.format)
            yield 0, text, self._shape
            return
        for before, part, format_ in sections(text, self._w3c):
            self._w3c = format_
            if format_ is not None:
                self._request.rules.site.check(format_)
            yield before, part, Shape(format_) if format_ is not None else None

    def _begin(self, content: bytes) -> None:
        """Find out the format of the file, and which log it is."""
        head = content[:BLOCK_BYTES].decode("utf-8", "backslashreplace").split("\n", 4 * LINES_MAX)[: 4 * LINES_MAX]
        head = [each.rstrip("\r") for each in head]
        self._shape = detect(self._free[0], head, self._request.format)
        requests = [each for each in head if each and not each.startswith("#")][:LINES_MAX]
        if self._request.source is not None:
            self._source = named(self._request.source)
        elif requests:
            self._source = self._sources.name_of(requests)
            if not self._target.is_dry:
                self._sources.save()

    def _reject(self, text: str, before: int) -> None:
        """Lines of a file whose format is not known."""
        for number, line in enumerate(text.split("\n"), start=before + 1):
            is_comment = not line.strip() or line.startswith("#")
            self._strange += not is_comment
            self._done.add(COMMENT if is_comment else NOT_UNDERSTOOD, 1, self._file.name, number, line)

    async def _finish_block(self) -> None:
        begun = self._begun.popleft()
        await asyncio.wrap_future(begun.ended)
        parsed = begun.parsed.pop()
        for why, (lines, first) in enumerate(parsed.counts):
            if not lines:
                continue
            self._understood += lines if why not in (NOT_UNDERSTOOD, COMMENT) else 0
            self._strange += lines if why == NOT_UNDERSTOOD else 0
            if why != EVENT:
                is_new = why not in self._done.reasons
                line = begun.text.split("\n", first)[first - 1] if is_new else ""
                self._done.add(why, lines, self._file.name, begun.before + first, line)
        await self._target.append(self._occurrences.number(parsed.events))


def _parse(
    parser: BlockParser, free: deque[BlockParser], text: str, shape: Shape, source: str, parsed: list[Parsed]
) -> None:
    try:
        parsed.append(parser.parse(text, shape, source))
    finally:
        free.append(parser)


def not_understood(done: Imported, format_: str) -> str:
    """The message about files of which no line is understood."""
    reason = done.reasons.get(NOT_UNDERSTOOD)
    where = f"{reason.file} line {reason.first} is: {reason.line}" if reason else ""
    files = ", ".join(done.strange)
    advice = "Name the format with --format; it takes a pattern as in nginx's log_format, too (docs/import.md)"
    return f"no line of {files} is understood as {tried(format_)}.\n{where}\n{advice}"
