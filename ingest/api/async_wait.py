"""Waiting for another process without a thread of its own: a worker has few threads.

A stuck compactor may keep many requests waiting for a minute; meanwhile /readyz,
/metrics and the status still need threads to answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from shared.disk.control_files import POLL_S, Action, RequestTimedOut


async def until(done: Callable[[], bool], timeout_s: float, give_up: Callable[[], bool]) -> bool:
    """Whether `done` returned True within `timeout_s` and before `give_up` did.

    `done` reads files, so each call runs in a thread.
    """
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(done):
        if time.monotonic() > deadline or give_up():
            return False
        await asyncio.sleep(POLL_S)
    return True


async def wait_for(done: Callable[[], bool], timeout_s: float, give_up: Callable[[], bool], action: Action) -> None:
    """Wait until `done` returns True. Raises RequestTimedOut for `action`."""
    if not await until(done, timeout_s, give_up):
        raise RequestTimedOut(action, timeout_s)
