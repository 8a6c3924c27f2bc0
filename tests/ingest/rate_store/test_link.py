"""No request waits for a store that does not answer; after a failure none waits until
it has been opened anew.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from ingest.rate_store.link import ANSWER_S, CALLS_MAX, StoreLink, Unanswered
from ingest.rate_store.store import Charge, RateStoreFailed, Refusal
from shared.worker_stats import WorkerStats
from tests.builders.rate_stores import MemoryStore
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import until_async

CHARGES = [Charge("requests", "203.0.113.7", 3, 1)]
ADDRESS = "redis://cache.example"
LONG_S = 3600.0
# For tests in which it is opened again, and for those in which it is not.
QUICK, NEVER = (0.001, 0.002), (LONG_S, LONG_S)


class Bed:
    """A link that runs, with its store, stats and log."""

    def __init__(self, pauses_s: tuple[float, float]) -> None:
        self.store, self.stats, self.log = MemoryStore(), WorkerStats(), SilentLog()
        self.now = 0.0
        self.link = StoreLink(self.store, ADDRESS, self.stats, self.log, lambda: self.now, pauses_s)

    @property
    def said(self) -> list[str]:
        return self.log.events()

    async def unanswered(self) -> None:
        with pytest.raises(Unanswered):
            await self.link.take(CHARGES)


@asynccontextmanager
async def running(pauses_s: tuple[float, float] = NEVER) -> AsyncIterator[Bed]:
    bed = Bed(pauses_s)
    async with bed.link.running(LONG_S):
        yield bed
    assert bed.store.closed
    assert not bed.stats.rate_store_up
    assert not bed.link.calls


async def test_store_that_answers_decides() -> None:
    async with running() as bed:
        assert bed.link.is_up and bed.stats.rate_store_up == 1
        answers = [await bed.link.take(CHARGES) for _ in range(4)]
        assert answers[:3] == [None] * 3
        assert answers[3] is not None and answers[3].charge == CHARGES[0]
        assert (bed.stats.rate_store_failures, bed.said) == (0, [])


async def test_link_that_does_not_run_is_unanswered() -> None:
    bed = Bed(NEVER)
    await bed.unanswered()
    assert bed.stats.rate_store_up == 0
    assert (bed.store.taken, bed.stats.rate_store_failures) == ([], 0)


async def test_store_that_stands_still_is_waited_for_once() -> None:
    async with running() as bed:
        bed.store.stand_still()
        for _ in range(1000):
            await bed.unanswered()
        assert len(bed.store.taken) == 1
        assert bed.stats.rate_store_failures == 1
        assert bed.log.entries == [("rate_store_failed", {"store": ADDRESS, "reason": "no answer within 50 ms"})]


async def test_call_that_nobody_waits_for_is_ended() -> None:
    async with running() as bed:
        bed.store.stand_still()
        await bed.unanswered()
        await until_async(lambda: bed.store.closed)
        await until_async(lambda: not bed.link.calls)


FAILURES = {
    "as it says": (RateStoreFailed("no memory"), "no memory"),
    "by a defect, whose text may hold a secret": (TypeError("s3cret"), "a defect: TypeError"),
}


@pytest.mark.parametrize(("error", "said"), FAILURES.values(), ids=FAILURES)
async def test_store_that_fails_leaves_it_to_the_host(error: Exception, said: str) -> None:
    async with running() as bed:
        bed.store.fails = error
        await bed.unanswered()
        await bed.unanswered()
        assert len(bed.store.taken) == 1
        assert bed.log.entries == [("rate_store_failed", {"store": ADDRESS, "reason": said})]


async def test_store_is_opened_anew_without_a_request() -> None:
    async with running(QUICK) as bed:
        bed.store.stand_still()
        await bed.unanswered()
        bed.store.go_on()
        await until_async(lambda: bed.link.is_up)
        assert bed.store.opened == 2
        assert await bed.link.take(CHARGES) is None
        assert bed.said == ["rate_store_failed", "rate_store_up"]


async def test_store_that_cannot_be_opened_is_tried_again() -> None:
    bed = Bed(QUICK)
    bed.store.fails = TypeError("an option that the library does not know")
    async with bed.link.running(LONG_S):
        await bed.unanswered()
        await until_async(lambda: bed.stats.rate_store_failures > 3)
        bed.store.fails = None
        await until_async(lambda: bed.link.is_up)
        assert bed.said == ["rate_store_failed", "rate_store_up"]


async def test_failure_is_said_once_a_minute() -> None:
    async with running(QUICK) as bed:
        bed.store.fails = RateStoreFailed("no memory")
        await bed.unanswered()
        await until_async(lambda: bed.stats.rate_store_failures > 5)
        assert bed.said == ["rate_store_failed"]
        bed.now += 60
        await until_async(lambda: len(bed.said) > 1)
        assert bed.said == ["rate_store_failed"] * 2


async def test_pause_grows_while_it_cannot_be_opened() -> None:
    async with running((0.001, 1000.0)) as bed:
        bed.store.fails = RateStoreFailed("no memory")
        await bed.unanswered()
        await asyncio.sleep(0.5)  # pauses of 1, 2, 4 … ms: nine of them are longer
        assert bed.stats.rate_store_failures <= 1 + 9


async def test_request_does_not_wait_for_others() -> None:
    """A burst of new clients is decided by the host rather than after its turn."""
    async with running() as bed:
        bed.store.stand_still()
        waiting = [asyncio.ensure_future(bed.link.take(CHARGES)) for _ in range(CALLS_MAX)]
        await asyncio.sleep(0)
        await bed.unanswered()
        assert bed.stats.rate_store_failures == 0
        bed.store.go_on()
        answers = await asyncio.gather(*waiting)
        assert answers.count(None) == 3


async def test_call_with_less_time_is_no_failure() -> None:
    async with running() as bed:
        bed.store.stand_still()
        with pytest.raises(Unanswered):
            await bed.link.take(CHARGES, within_s=0.0)
        assert bed.link.is_up and bed.stats.rate_store_failures == 0
        bed.store.go_on()


class SocketStore(MemoryStore):
    """Answers when something arrives at a socket, after as many turns of the event loop
    as a library's reader and parser take.
    """

    def __init__(self, arrives: socket.socket) -> None:
        super().__init__()
        self._arrives = arrives

    async def take(self, charges: Sequence[Charge]) -> Refusal | None:
        await asyncio.get_running_loop().sock_recv(self._arrives, 1)
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().take(charges)


async def test_answer_that_is_there_when_a_busy_loop_comes_to_it_counts() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        stats = WorkerStats()
        link = StoreLink(SocketStore(here), ADDRESS, stats, SilentLog())
        async with link.running(LONG_S):
            answer = asyncio.ensure_future(link.take(CHARGES))
            for _ in range(3):
                await asyncio.sleep(0)  # now it waits for the answer
            there.send(b"!")
            time.sleep(2 * ANSWER_S)  # noqa: ASYNC251  the loop is busy with something else
            assert await answer is None
            assert stats.rate_store_failures == 0
