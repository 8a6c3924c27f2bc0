"""Each worker serves its stats; a dead or stuck one is recognised, within a second."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.observe.peers import serve_stats
from shared.disk.layout import DataDirectory
from shared.peers import query_workers, remove_dead_sockets
from shared.worker_stats import WorkerStats
from tests.builders.logs import data_directory
from tests.builders.server import Server
from tests.builders.waiting import until

# Forks a hundred processes that have imported everything and decoded nothing; prints
# their exit codes.
FIRST_QUERIES = """
import os, sys
from pathlib import Path
from shared.peers import query_workers
from ingest.worker import SWITCH_INTERVAL_S
from shared.disk.layout import DataDirectory

sys.setswitchinterval(SWITCH_INTERVAL_S)
for _ in range(100):
    if not (child := os.fork()):
        try:
            found = query_workers(DataDirectory(Path(sys.argv[1])))
            os._exit(0 if all(found.values()) else 1)
        finally:
            os._exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers, with a data directory deeper than the 107 bytes of a socket path."""
    directory = tmp_path_factory.mktemp("peers") / ("d" * 200)
    directory.mkdir()
    with Server(directory, workers=2) as running:
        until(lambda: set(up(running.data)) == {"0", "1"})
        yield running


def up(data: DataDirectory) -> dict[str, WorkerStats]:
    """The stats of the workers that answer."""
    return {name: stats for name, stats in query_workers(data).items() if stats is not None}


def accepted(server: Server) -> int:
    return sum(stats.accepted for stats in up(server.data).values())


def test_stats_of_all_workers_sum_to_all_requests(server: Server) -> None:
    assert len(os.fsencode(server.data.socket("0"))) > 200
    before = accepted(server)
    for _ in range(30):
        assert server.post([{"name": "x"}, {"name": "y"}]).status == 200
    found = up(server.data)
    assert accepted(server) == before + 60
    assert all(stats.requests.get("/v1/events 200 ok") for stats in found.values())
    assert sum(stats.group_events.sum for stats in found.values()) == accepted(server)


def test_sockets_are_accessible_to_their_owner_only(server: Server) -> None:
    assert stat.S_IMODE(server.data.run.stat().st_mode) == 0o700
    assert sorted(path.name for path in server.data.run.iterdir()) == ["0.sock", "1.sock"]


def test_first_query_of_a_process_may_run_in_several_threads(server: Server) -> None:
    """msgspec inspects a type at its first decoding, and crashes if two threads do so
    at once. It happened in one process of several, so a hundred show it.
    """
    asked = subprocess.run(
        [sys.executable, "-c", FIRST_QUERIES, str(server.data.root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert Counter(asked.stdout.split()) == {"0": 100}


def test_stopped_worker_is_down_after_a_second(server: Server) -> None:
    pid = server.child("ingest-1")
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert query_workers(server.data)["1"] is None
        assert time.monotonic() - started > 0.9
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: "1" in up(server.data))
    assert server.child("ingest-1") == pid


def test_killed_worker_is_down_until_its_successor_answers(server: Server) -> None:
    pid, before = server.child("ingest-1"), server.data.socket("1").stat().st_ctime_ns
    old = up(server.data)["0"].requests
    os.kill(pid, signal.SIGKILL)
    until(lambda: query_workers(server.data)["1"] is None)
    assert server.data.socket("1").exists()
    until(lambda: "1" in up(server.data))
    assert server.child("ingest-1") != pid
    assert server.data.socket("1").stat().st_ctime_ns > before
    found = up(server.data)
    assert found["1"].accepted == 0 and found["0"].requests.items() >= old.items()


@pytest.mark.long
def test_start_removes_sockets_of_killed_workers_and_a_stop_its_own(server: Server) -> None:
    server.kill()
    assert sorted(path.name for path in server.data.run.iterdir()) == ["0.sock", "1.sock"]
    assert query_workers(server.data) == {"0": None, "1": None}
    server.environ["FOLDLOG_WORKERS"] = "1"
    server.start()
    assert [path.name for path in server.data.run.iterdir()] == ["0.sock"]
    assert server.stop() == 0
    assert list(server.data.run.iterdir()) == []
    server.environ["FOLDLOG_WORKERS"] = "2"
    server.start()
    until(lambda: set(up(server.data)) == {"0", "1"})


def dead_socket(path: Path) -> None:
    """The socket of a killed process."""
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    bound.close()


async def test_sockets_of_dead_workers_are_removed_and_others_kept(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    peers = await serve_stats(data, "alive", WorkerStats)
    dead_socket(data.socket("dead"))
    (data.run / "note.txt").write_text("of another program")
    await asyncio.to_thread(remove_dead_sockets, data)
    assert sorted(path.name for path in data.run.iterdir()) == ["alive.sock", "note.txt"]
    assert await asyncio.to_thread(query_workers, data) == {"alive": WorkerStats()}
    peers.close()


async def test_answer_has_the_current_stats(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    stats = WorkerStats()
    peers = await serve_stats(data, "0", lambda: stats)
    stats.record_response("/v1/events", 200, "ok")
    stats.commit_s.observe(0.0007)
    stats.rejected["name"] = 3
    assert await asyncio.to_thread(query_workers, data) == {"0": stats}
    stats.record_response("/v1/events", 200, "ok")
    assert (await asyncio.to_thread(query_workers, data))["0"] == stats
    peers.close()


async def test_socket_of_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    dead_socket(data.socket("0"))
    assert query_workers(data) == {"0": None}
    peers = await serve_stats(data, "0", lambda: WorkerStats(accepted=7))
    assert await asyncio.to_thread(query_workers, data) == {"0": WorkerStats(accepted=7)}
    peers.close()


# Servers of a socket that do not answer as a worker does.
async def close_at_once(_reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
    stream.close()


async def send_half(_reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
    stream.write(b'{"accepted":')
    stream.close()


async def send_another_type(_reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
    stream.write(b'{"accepted":"many"}')
    stream.close()


@pytest.mark.parametrize("answer", [close_at_once, send_half, send_another_type])
async def test_worker_with_an_invalid_answer_is_down(tmp_path: Path, answer: Callable[..., object]) -> None:
    data = data_directory(tmp_path)
    other = await asyncio.start_unix_server(answer, data.socket("0"))  # type: ignore[arg-type]
    assert await asyncio.to_thread(query_workers, data) == {"0": None}
    other.close()


@pytest.mark.long
def test_directory_without_workers_has_none(tmp_path: Path) -> None:
    assert query_workers(data_directory(tmp_path)) == {}
    assert query_workers(DataDirectory(tmp_path / "missing")) == {}
    remove_dead_sockets(DataDirectory(tmp_path / "missing"))
