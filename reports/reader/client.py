"""A worker's side of the reading process: start it when first needed, ask it one thing
at a time, replace it when it hangs.

What it answered is kept until another snapshot is published: the same question to the
same snapshot has the same answer.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import msgspec

from reports.query import Query, QueryError, parse
from reports.reader.protocol import EXIT_DAMAGED, Answer, Question
from shared.disk.layout import DataDirectory
from shared.generations.part_integrity import FileIdentity, file_identity
from shared.settings import Settings

_STREAM_LIMIT = 1 << 20
_BLOCK = 1 << 16
KEPT_BYTES = 8 << 20
_ANSWER = msgspec.json.Decoder(Answer)


class ReportError(Exception):
    """There is no answer. `code` is one of docs/api.md; `detail` is for the client."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Answers:
    """The encoded reports of one snapshot that were asked for last, at most KEPT_BYTES
    of them.
    """

    def __init__(self, data: DataDirectory) -> None:
        self._data = data
        self._snapshot: FileIdentity | None = None
        self._kept: OrderedDict[tuple[Query, str], bytes] = OrderedDict()
        self._bytes = 0

    def published(self) -> FileIdentity | None:
        """Which snapshot is published now; None when there is none. Forgets the answers
        of any other.
        """
        try:
            found = file_identity(self._data.snapshot)
        except OSError:
            found = None
        if found != self._snapshot:
            self._snapshot, self._bytes = found, 0
            self._kept.clear()
        return found

    def get(self, query: Query, format_: str) -> bytes | None:
        """The answer of the snapshot that is published now, if it is known."""
        self.published()
        if (query, format_) not in self._kept:
            return None
        self._kept.move_to_end((query, format_))
        return self._kept[query, format_]

    def put(self, query: Query, format_: str, content: bytes, snapshot: FileIdentity | None) -> None:
        """Keep an answer. `snapshot` is what was published before it was asked for: if
        another is now, it may be of either.
        """
        if snapshot is None or snapshot != self.published() or len(content) > KEPT_BYTES // 8:
            return
        self._bytes += len(content) - len(self._kept.pop((query, format_), b""))
        self._kept[query, format_] = content
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1])


class Reader:
    """Asks for reports and exports in a process of its own. Raises ReportError when
    there is no answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._answers = Answers(DataDirectory(settings.data_dir))

    async def report(self, parameters: Mapping[str, str], format_: str) -> bytes:
        """The encoded report."""
        now = datetime.now(UTC)
        try:
            query = parse(parameters, now, self._settings.timezone)
        except QueryError as error:
            raise ReportError("query", str(error)) from None
        question = self._question("report", parameters, format_, now)
        if (known := self._answers.get(query, format_)) is not None:
            return known
        async with self._turn:
            if (known := self._answers.get(query, format_)) is not None:
                return known  # somebody who waited before asked the same
            snapshot = self._answers.published()
            try:
                answer, content = await asyncio.wait_for(self._ask(question), self._settings.report_timeout)
            except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
                await self.close()
                slow = isinstance(error, TimeoutError)
                detail = "the report took too long; ask for less" if slow else "the report failed; the log says why"
                raise ReportError("report_timeout" if slow else "report_failed", detail) from None
            except asyncio.CancelledError:
                await self.close()  # its answer to this question must not be read as that to the next
                raise
        if answer.code:
            raise ReportError(answer.code, answer.detail)
        self._answers.put(query, format_, content, snapshot)
        return content

    async def export(self, parameters: Mapping[str, str], format_: str) -> AsyncIterator[bytes]:
        """The export in blocks, from a process of its own. Check the parameters before:
        nothing can be said in between.

        Damaged parts are found before the first block: ReportError says so.
        """
        # A process that is killed removes nothing: its files, events in them, are this
        # one's to remove.
        with tempfile.TemporaryDirectory(prefix="foldlog-export-") as directory:
            process = await self._start(directory)
            try:
                async for block in _stream(process, self._question("export", parameters, format_, datetime.now(UTC))):
                    yield block
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def close(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    def _question(self, kind: str, parameters: Mapping[str, str], format_: str, now: datetime) -> bytes:
        settings = self._settings
        question = Question(
            kind,  # type: ignore[arg-type]
            str(settings.data_dir),
            settings.timezone,
            settings.report_memory,
            format_,
            dict(parameters),
            now,
        )
        return msgspec.json.encode(question) + b"\n"

    async def _ask(self, question: bytes) -> tuple[Answer, bytes]:
        if self._process is None or self._process.returncode is not None:
            self._process = await self._start()
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("both are pipes")
        stdin.write(question)
        await stdin.drain()
        answer = _ANSWER.decode(await stdout.readuntil(b"\n"))
        return answer, await stdout.readexactly(answer.bytes)

    @staticmethod
    async def _start(directory: str | None = None) -> asyncio.subprocess.Process:
        """With a directory for its temporary files, where it is to leave none
        elsewhere.
        """
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "reports.reader.process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_STREAM_LIMIT,
            env=os.environ | {"TMPDIR": directory} if directory else None,
        )


async def _stream(process: asyncio.subprocess.Process, question: bytes) -> AsyncIterator[bytes]:
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    process.stdin.write(question)
    await process.stdin.drain()
    began = False
    while block := await process.stdout.read(_BLOCK):
        began = True
        yield block
    if (code := await process.wait()) == EXIT_DAMAGED:
        raise ReportError("part", "a part is damaged; `foldlog verify` says which, and what to do")
    if code != 0 and not began:
        raise ReportError("report_failed", "the export failed; the log says why")
    if code != 0:
        raise ConnectionAbortedError("the export failed")
