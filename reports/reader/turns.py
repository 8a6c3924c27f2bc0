"""Which question is answered next: those of one token in their order, two at once, and
over all workers as many as there are slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from reports.reader.handle import ReportError
from reports.reader.slots import ReaderSlots

# Of one token in one worker, so that a slow question does not hold up a quick one.
AT_ONCE = 2
WAITING_MAX = 64
SLOT_WAIT_S = 5.0
_SLOT_POLL_S = 0.05


@dataclass
class _Owner:
    """The questions of one token."""

    asked: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class Turns:
    """The turns of one worker. An owner is a token, as a hash; without one, only the
    slots count.
    """

    def __init__(self, slots: ReaderSlots) -> None:
        self._slots = slots
        self._owners: dict[bytes, _Owner] = {}
        self._closed = asyncio.Event()
        self._quiet = asyncio.Event()
        self._running = 0

    @asynccontextmanager
    async def of_report(self, owner: bytes) -> AsyncIterator[None]:
        """The turn of a question, which waits for it. Raises ReportError `busy`."""
        queue = self._owners.setdefault(owner, _Owner())
        if queue.asked >= AT_ONCE + WAITING_MAX:
            raise _busy()
        queue.asked += 1
        try:
            async with self._counted(), queue.turns:
                slot = await self._slot(owner)
                try:
                    yield
                finally:
                    self._slots.give_back(slot)
        finally:
            queue.asked -= 1
            if not queue.asked:
                del self._owners[owner]

    @asynccontextmanager
    async def of_export(self, owner: bytes) -> AsyncIterator[None]:
        """The turn of an export, which may last for long: none waits for it. Raises
        ReportError `busy`.
        """
        slot = self._slots.take(owner)
        if slot is None:
            raise _busy()
        try:
            async with self._counted():
                yield
        finally:
            self._slots.give_back(slot)

    def is_closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """A question that waits for a slot is refused."""
        self._closed.set()

    async def wait_until_over(self) -> None:
        """Returns once nothing has a turn or waits for one."""
        while self._running:
            await self._quiet.wait()

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._running += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._quiet.set()

    async def _slot(self, owner: bytes) -> int:
        """Another worker may hold the slots, so this asks again and again."""
        deadline = asyncio.get_running_loop().time() + SLOT_WAIT_S
        while (slot := self._slots.take(owner)) is None:
            if self.is_closed() or asyncio.get_running_loop().time() > deadline:
                raise _busy()
            await asyncio.sleep(_SLOT_POLL_S)
        return slot


def _busy() -> ReportError:
    return ReportError("busy", "as many reports and exports as may run at once are being made; ask again")
