"""Querying the statistics of all workers: each serves its own on a socket in run/.

Workers share one port, so a request for /metrics reaches any of them, which then
queries the others. A socket needs no disk, and refuses connections once its worker is
dead.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shared.disk.layout import DataDirectory
from shared.worker_stats import WorkerStats

TIMEOUT_S = 1.0
_BLOCK = 1 << 16
_STATS = msgspec.json.Decoder(WorkerStats)


def query_workers(data: DataDirectory) -> dict[str, WorkerStats | None]:
    """The stats of every worker; None for one that is dead or does not answer. Blocks,
    for not much more than TIMEOUT_S.
    """
    paths = sorted(data.run.glob("*.sock"))
    with ThreadPoolExecutor(max(1, len(paths))) as together:
        return dict(zip([path.stem for path in paths], together.map(_ask, paths), strict=True))


def remove_dead_sockets(data: DataDirectory) -> None:
    """Remove the sockets of killed workers."""
    for path in data.run.glob("*.sock"):
        try:
            _connect(path).close()
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            continue


def _ask(path: Path) -> WorkerStats | None:
    try:
        with _connect(path) as peer:
            answer = b""
            while block := peer.recv(_BLOCK):
                answer += block
        return _STATS.decode(answer)
    except (OSError, msgspec.DecodeError):
        return None


def _connect(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    peer.settimeout(TIMEOUT_S)
    try:
        with short_path(path) as short:
            peer.connect(short)
    except BaseException:
        peer.close()
        raise
    return peer


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The same file under a shorter path: that of a socket is limited to 107 bytes, and
    a data directory may lie deeper.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
