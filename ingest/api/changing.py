"""A change of a file that an operator makes over HTTP, and what may be in its way."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TypeVar

from ingest.http.problem import Problem
from shared.disk.layout import DataDirectory

_T = TypeVar("_T")


async def changed(data: DataDirectory, change: Callable[[DataDirectory], _T], what: str) -> _T:
    """What the change returns, made in a thread. Raises Problem 503 and 507 where the
    disk does not take it.
    """
    try:
        return await asyncio.to_thread(change, data)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Problem(507, "disk_full", f"there is no space for {what}", retry_after_s=30) from None
        raise Problem(503, "unavailable", f"{what} cannot be written", retry_after_s=30) from None
