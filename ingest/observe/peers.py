"""A worker's answer to those that ask what it counts (shared/peers.py)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import msgspec

from shared.disk.layout import DataDirectory
from shared.peers import short_path
from shared.worker_stats import WorkerStats


async def answer_peers(data: DataDirectory, writer: str, stats: Callable[[], WorkerStats]) -> asyncio.Server:
    """Give whoever connects the stats of this worker. Raises OSError when the socket
    cannot be made.
    """

    async def answer(_reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
        stream.write(msgspec.json.encode(stats()))
        stream.close()

    path = data.socket(writer)
    path.unlink(missing_ok=True)  # of a worker with this name that was killed: the lock on the segment says it is dead
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with short_path(path) as short:
        bound.bind(short)
    return await asyncio.start_unix_server(answer, sock=bound)
