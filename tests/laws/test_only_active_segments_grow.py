"""While events are acknowledged, no file changes but the active segments, and those
only grow: no index, no database, no rewrite (P1, P4).
"""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from shared.disk.layout import DataDirectory
from tests.builders.server import Server
from tests.builders.waiting import until

REQUESTS = 1_000
CLIENTS = 4


class File(NamedTuple):
    """What changes when a file is replaced, written or touched."""

    inode: int
    bytes: int
    mtime_ns: int


def test_thousand_acknowledged_requests_change_nothing_but_growing_active_segments(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2, segment_max_age=3600, fold_interval=3600) as server:
        active = {server.data.active(writer) for writer in ("0", "1")}
        until(lambda: server.stderr().count('"event":"worker_listening"') == 2)
        until(lambda: all(path.exists() for path in active))
        assert all(server.post([{"name": "first"}]).status == 200 for _ in range(20))
        seen = [watched(server.data)]
        assert active <= seen[0].keys()

        statuses: list[int] = []
        clients = [threading.Thread(target=send, args=(server, statuses)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            seen.append(watched(server.data))
        seen.append(watched(server.data))

        assert statuses == [200] * REQUESTS
        assert len(seen) > 2
        for before, after in pairwise(seen):
            assert after.keys() == before.keys()
            assert {path for path in before if before[path] != after[path]} <= active
            assert all(after[path].inode == before[path].inode for path in active)
            assert all(after[path].bytes >= before[path].bytes for path in active)
        written = sum(seen[-1][path].bytes - seen[0][path].bytes for path in active)
        assert written > 100 * REQUESTS
        assert len(server.lines()) == 20 + REQUESTS


def send(server: Server, statuses: list[int]) -> None:
    numbers = range(REQUESTS // CLIENTS)
    statuses.extend(server.post([{"name": "counted", "props": {"number": number}}]).status for number in numbers)


def watched(data: DataDirectory) -> dict[Path, File]:
    """Every file and directory below the data directory."""
    found = {}
    for path in (data.root, *data.root.rglob("*")):
        status = path.lstat()
        found[path] = File(status.st_ino, status.st_size, status.st_mtime_ns)
    return found
