"""The way to a store that may be slow, stopped or gone: no request waits longer than
`ANSWER_S` for it, and none waits for one that has failed.

After a failure the table of this host decides alone for a while, and the store is
opened anew without a request that waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

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
# busy loop sees the end of the time first.
_TURNS = 8


class Unanswered(Exception):
    """The table of this host decides alone."""


class StoreLink:
    """`address` is the store's for messages, without secrets. `run` is a task for the
    life of the worker.
    """

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
        self.calls: set[asyncio.Future[Refusal | None]] = set()
        self._broken = asyncio.Event()
        self._tried = asyncio.Event()
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
        call = asyncio.ensure_future(self._store.take(charges))
        self.calls.add(call)
        call.add_done_callback(self._ended)
        # Not cancelled when the time is over: `close` ends it, and asks nobody.
        await asyncio.wait({call}, timeout=within_s)
        for _ in range(_TURNS):
            if call.done():
                break
            await asyncio.sleep(0)
        if not call.done():
            if within_s >= ANSWER_S:
                self._fail(f"no answer within {ANSWER_S * 1000:g} ms")
            raise Unanswered
        try:
            return call.result()
        except Exception as error:  # noqa: BLE001  a defect of a library costs no event either
            self._fail(_reason(error))
            raise Unanswered from None

    def _ended(self, call: asyncio.Future[Refusal | None]) -> None:
        self.calls.discard(call)
        if not call.cancelled():
            call.exception()  # nobody may wait for it any more

    async def run(self) -> None:
        """Open the store, and again after each failure."""
        pause_s = self._pause_min_s
        try:
            while True:
                since = self._clock()
                if await self._within(self._store.open()):
                    self._opened()
                    await self._watch()
                self._tried.set()
                await self._close()
                if self._clock() - since > self._pause_max_s:
                    pause_s = self._pause_min_s
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._pause_max_s)
        finally:
            await self._close()

    async def tried(self, within_s: float) -> None:
        """Wait until the store is open, or could not be opened."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._tried.wait()

    async def _watch(self) -> None:
        """Until it fails; meanwhile its key is learned again, and old rows go."""
        while not self._broken.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._broken.wait()
                return
            await self._within(self._store.refresh())

    async def _within(self, work: Coroutine[None, None, None]) -> bool:
        """Whether it was done in time."""
        try:
            async with asyncio.timeout(OPEN_S):
                await work
        except TimeoutError:
            self._fail(f"no answer within {OPEN_S:g} s")
        except Exception as error:  # noqa: BLE001  such as an option that the library does not know
            self._fail(_reason(error))
        else:
            return True
        return False

    async def _close(self) -> None:
        self._stats.rate_store_up = 0
        with suppress(Exception):  # what cannot be closed has failed already, and is opened anew
            async with asyncio.timeout(OPEN_S):
                await self._store.close()

    def _opened(self) -> None:
        self._broken.clear()
        self._stats.rate_store_up = 1
        self._tried.set()
        if self._is_failure_said:
            self._is_failure_said = False
            self._log.info("rate_store_up", store=self._address)

    def _fail(self, reason: str) -> None:
        """Count it, and say it unless that was done a moment ago."""
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
