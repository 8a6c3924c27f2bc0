"""A worker's side of reports: what was answered is remembered, what several ask at once
is answered once, and what nobody waits for any more is stopped.

No parameter is parsed here: a range that is costly to parse would hold up the events.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from reports.reader import handle
from reports.reader.cache import AnswerCache
from reports.reader.environment import driver_environment
from reports.reader.handle import ReportError
from reports.reader.pool import ReaderPool
from reports.reader.protocol import ReaderRequest
from reports.reader.question import Question, question_of
from reports.reader.slots import ReaderSlots
from shared.disk.file_identity import FileIdentity
from shared.disk.layout import DataDirectory
from shared.disk.spill import sweep_spill
from shared.settings import Settings
from shared.stores.address import knows_hosts

__all__ = ["ReaderClient", "ReportError"]

# The process takes some 86 MiB once it has answered a report, and a part of a second to
# start.
IDLE_TIMEOUT_S = 60.0


@dataclass
class _Asked:
    """A question that is being answered, and how many wait for it."""

    answer: asyncio.Task[bytes]
    askers: int = 0


class ReaderClient:
    """Reports and exports from processes of their own. Both raise ReportError.

    `shared` is the memory of all workers of one `serve`. The `owner` of a question is a
    hash of the token that asks.
    """

    def __init__(self, settings: Settings, idle_timeout_s: float = IDLE_TIMEOUT_S, shared: int = -1) -> None:
        self._settings = settings
        self._driver_environment = driver_environment(os.environ)
        self._slots = ReaderSlots(settings.max_readers, shared)
        data = DataDirectory(settings.data_dir)
        sweep_spill(data)  # what readers of a crashed worker left
        self._pool = ReaderPool(data, self._slots, settings.report_timeout, idle_timeout_s)
        self._cache = AnswerCache(data)
        self._asked: dict[tuple[Question, FileIdentity | None, bytes], _Asked] = {}

    @property
    def running(self) -> int:
        """How many reports and exports are being made."""
        return self._slots.held

    async def report(self, parameters: Mapping[str, str], format_: str, owner: bytes = b"") -> bytes:
        """The encoded report. When the last who asked for it is cancelled, the process
        that makes it is killed.
        """
        now = datetime.now(UTC)
        question = question_of(parameters, format_, now)
        if not self._is_over_hosts(parameters) and (cached := self._cache.get(question)) is not None:
            return cached
        # Who asks after a new snapshot was published gets no answer of the old one.
        # Over hosts, who asks while an answer is made gets it; none is kept, as this
        # process does not see when another host publishes. One token does not wait in
        # the line of another.
        key = question, self._cache.published(), owner
        asked = self._asked.get(key)
        if asked is None:
            request = self._request("report", parameters, format_, now)
            kept_for = None if self._is_over_hosts(parameters) else key[1]
            asked = self._asked[key] = _Asked(asyncio.ensure_future(self._answer(request, owner, question, kept_for)))
        asked.askers += 1
        try:
            return await asyncio.shield(asked.answer)
        finally:
            asked.askers -= 1
            if not asked.askers:
                asked.answer.cancel()  # of no effect once it is there
                self._asked.pop(key, None)

    @asynccontextmanager
    async def export(
        self, parameters: Mapping[str, str], format_: str, owner: bytes = b""
    ) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """What returns the next block, empty at the end. The first raises ReportError,
        later ones ConnectionAbortedError. The export ends with the block of `with`.
        """
        async with self._pool.own_reader(owner) as reader:
            request = self._request("export", parameters, format_, datetime.now(UTC))
            has_begun = False

            async def next_block() -> bytes:
                nonlocal has_begun
                if not has_begun:
                    await handle.begin_export(reader, request)
                    has_begun = True
                return await handle.read_block(reader)

            yield next_block

    async def close(self) -> None:
        """End the processes, also in the middle of a report."""
        await self._pool.close()

    async def _answer(self, request: bytes, owner: bytes, question: Question, snapshot: FileIdentity | None) -> bytes:
        response, content = await self._pool.answer(request, owner)
        if response.code:
            raise ReportError(response.code, response.detail)
        self._cache.put(question, content, snapshot)
        return content

    def _is_over_hosts(self, parameters: Mapping[str, str]) -> bool:
        return knows_hosts(self._settings.store) and parameters.get("scope") != "host"

    def _request(
        self, kind: Literal["report", "export"], parameters: Mapping[str, str], format_: str, now: datetime
    ) -> bytes:
        settings = self._settings
        request = ReaderRequest(
            kind=kind,
            data_dir=str(settings.data_dir),
            timezone=settings.timezone,
            memory_bytes=settings.report_memory,
            disk_reserve=settings.disk_reserve,
            format=format_,
            parameters=dict(parameters),
            now=now,
            store=settings.store,
            store_cache=settings.store_cache,
            environ=self._driver_environment,
        )
        return msgspec.json.encode(request) + b"\n"
