"""Waiting for another process without a thread: a worker has few, and those who ask how it is need one each.

A stuck compactor may keep many waiting for a minute; /readyz, /metrics and the status have to say so meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ingest.context import Service
from shared.disk.control_files import POLL_S, nobody


async def until(service: Service, done: Callable[[], bool], timeout_s: float) -> bool:
    """Whether `done` says so in time, and before the worker has none left. It looks at files, so each look is in a thread."""
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(done):
        if time.monotonic() > deadline or service.refusing:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def answered(service: Service, done: Callable[[], bool], timeout_s: float, complaint: str) -> None:
    """Wait until `done` says so. Raises NobodyAnswered when it does not in time."""
    if not await until(service, done, timeout_s):
        raise nobody(complaint, timeout_s)
