"""`AsyncClient`: the same client for asyncio. The sending is that of `Client`, in its
thread; a call that touches the disk or waits runs in a thread of the loop's executor.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from foldlog.client.client import Client


class AsyncClient:
    """Takes what `Client` takes. `on_refused` is called in the sender's thread, not in
    the loop.
    """

    def __init__(self, url: str, key: str, **options: Any) -> None:
        self._client = Client(url, key, **options)

    async def track(self, name: str, **fields: Any) -> str:
        """See `Client.track`. The event may be kept although the task is cancelled."""
        return await asyncio.to_thread(self._client.track, name, **fields)

    async def flush(self, timeout_s: float | None = None) -> bool:
        """See `Client.flush`."""
        return await asyncio.to_thread(self._client.flush, timeout_s)

    async def close(self, timeout_s: float | None = None) -> bool:
        """See `Client.close`."""
        return await asyncio.to_thread(self._client.close, timeout_s)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
