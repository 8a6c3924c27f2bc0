"""Waiting for another process or thread, with a timeout that a busy machine needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

TIMEOUT_S = 60.0


def until(condition: Callable[[], object], why_not: Callable[[], object] = str, timeout_s: float = TIMEOUT_S) -> float:
    """Poll until the condition holds; returns the seconds waited. On a timeout the
    failure shows what `why_not` returns.
    """
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, why_not()
        time.sleep(0.02)
    return time.monotonic() - started


async def until_async(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """The same, while the event loop runs."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
