"""Serves a worker's stats on its socket in run/, to other workers, the supervisor and
commands (shared/peers.py).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import msgspec

from shared.disk.layout import DataDirectory
from shared.peers import short_path
from shared.worker_stats import WorkerStats


async def serve_stats(data: DataDirectory, writer: str, stats: Callable[[], WorkerStats]) -> asyncio.Server:
    """Send the current stats to every client that connects.

    Raises OSError when the socket cannot be made.
    """

    async def send(_reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
        stream.write(msgspec.json.encode(stats()))
        stream.close()

    path = data.socket(writer)
    path.unlink(missing_ok=True)  # left by a killed worker of this name, which the segment's lock proves dead
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with short_path(path) as short:
        bound.bind(short)
    return await asyncio.start_unix_server(send, sock=bound)
