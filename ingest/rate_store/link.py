"""The way to a store that may be slow, stopped or gone: no request waits longer than
`ANSWER_S` for it, and none waits for one that has failed.

After a failure the table of this host decides alone for a while, and the store is
opened anew without a request that waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from ingest.rate_store.store import Charge, RateStore, RateStoreFailed, Refusal
from shared.log import Log
from shared.worker_stats import WorkerStats

ANSWER_S = 0.05
OPEN_S = 3.0
# Between two attempts to open it: doubled each time, until it has held for the longest.
PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 30.0
REFRESH_S = 60.0
# Beyond it a request does not ask: it would wait for others, not for the store.
CALLS_MAX = 32
SAID_EVERY_S = 60.0
# How often the event loop may turn for an answer that is there when the time is over: a
# busy loop sees the end of the time first. Without it, a loop that was busy for 100 ms
# took 20 of 20 answers of a Redis for late.
_TURNS = 8


T = TypeVar("T")


class Unanswered(Exception):
    """The table of this host decides alone."""


class _Late(Exception):
    """A call has not ended in time. It goes on until the store is closed."""


class StoreLink:
    """`address` is the store's for messages, without secrets."""

    def __init__(
        self,
        store: RateStore,
        address: str,
        stats: WorkerStats,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        pauses_s: tuple[float, float] = (PAUSE_MIN_S, PAUSE_MAX_S),
    ) -> None:
        self._store, self._address, self._stats, self._log, self._clock = store, address, stats, log, clock
        self._pause_min_s, self._pause_max_s = pauses_s
        self.calls: set[asyncio.Future[Any]] = set()
        self._broken = asyncio.Event()
        self._tried = asyncio.Event()
        self._ending = asyncio.Event()
        self._said_at: float | None = None
        self._is_failure_said = False
        stats.rate_store_up = 0

    @property
    def is_up(self) -> bool:
        return bool(self._stats.rate_store_up)

    async def take(self, charges: Sequence[Charge], within_s: float = ANSWER_S) -> Refusal | None:
        """Count all charges, or none. Raises Unanswered.

        Only the whole of `ANSWER_S` without an answer is a failure of the store.
        """
        if not self.is_up or len(self.calls) >= CALLS_MAX:
            raise Unanswered
        try:
            return await self._answer(self._store.take(charges), within_s)
        except _Late:
            if within_s >= ANSWER_S:
                self._fail(f"no answer within {ANSWER_S * 1000:g} ms")
        except Exception as error:  # noqa: BLE001  a defect of a library costs no event either
            self._fail(_reason(error))
        raise Unanswered

    async def _answer(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Raises _Late, and what the store raises.

        A late call is not cancelled: `close` ends it. Cancelled, a statement would ask
        the server to end it, and Python 3.11 may swallow the cancellation.
        """
        call = asyncio.ensure_future(work)
        self.calls.add(call)
        call.add_done_callback(self._ended)
        await asyncio.wait({call}, timeout=within_s)
        for _ in range(_TURNS):
            if call.done():
                break
            await asyncio.sleep(0)
        if not call.done():
            raise _Late
        return call.result()

    def _ended(self, call: asyncio.Future[Any]) -> None:
        self.calls.discard(call)
        if not call.cancelled():
            call.exception()  # no request may wait for it any more

    @asynccontextmanager
    async def running(self, wait_s: float) -> AsyncIterator[None]:
        """Keep the store open. Begins when it is open or could not be opened, or after
        `wait_s`.
        """
        task = asyncio.create_task(self._run())
        try:
            await _wait(self._tried, wait_s)
            yield
        finally:
            for event in (self._ending, self._broken, self._tried):
                event.set()
            await self._close()
            await asyncio.wait({task})

    async def _run(self) -> None:
        """Open the store, and again after each failure."""
        pause_s = self._pause_min_s
        while not self._ending.is_set():
            since = self._clock()
            if await self._is_done(self._store.open()):
                self._opened()
                await self._watch()
            self._tried.set()
            await self._close()
            if self._clock() - since > self._pause_max_s:
                pause_s = self._pause_min_s
            await _wait(self._ending, pause_s)
            pause_s = min(2 * pause_s, self._pause_max_s)

    async def _watch(self) -> None:
        """Until it fails; meanwhile its key is learned again, and old rows go."""
        while not self._broken.is_set():
            await _wait(self._broken, REFRESH_S)
            if not self._broken.is_set():
                await self._is_done(self._store.refresh())

    async def _is_done(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether it was done in time."""
        try:
            await self._answer(work, OPEN_S)
        except _Late:
            self._fail(f"no answer within {OPEN_S:g} s")
        except Exception as error:  # noqa: BLE001  such as an option that the library does not know
            self._fail(_reason(error))
        else:
            return not self._ending.is_set()
        return False

    async def _close(self) -> None:
        """End the calls that still wait, and the connections."""
        self._stats.rate_store_up = 0
        with suppress(Exception):  # what cannot be closed has failed already, and is opened anew
            await self._answer(self._store.close(), OPEN_S)
        if self.calls:
            await asyncio.wait(set(self.calls), timeout=OPEN_S)

    def _opened(self) -> None:
        self._broken.clear()
        self._stats.rate_store_up = 1
        self._tried.set()
        if self._is_failure_said:
            self._is_failure_said = False
            self._log.info("rate_store_up", store=self._address)

    def _fail(self, reason: str) -> None:
        """Count it, and say it unless that was done a moment ago."""
        if self._ending.is_set():
            return  # a call that the end of the link has ended
        self._stats.rate_store_failures += 1
        self._stats.rate_store_up = 0
        self._broken.set()
        now = self._clock()
        if self._said_at is None or now - self._said_at >= SAID_EVERY_S:
            self._said_at, self._is_failure_said = now, True
            self._log.warning("rate_store_failed", store=self._address, reason=reason)


def _reason(error: Exception) -> str:
    """The text of another error may hold a secret."""
    return str(error) if isinstance(error, RateStoreFailed) else f"a defect: {type(error).__name__}"


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until it is set, or for that long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
