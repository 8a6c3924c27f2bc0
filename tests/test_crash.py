"""Real processes that really die: no acknowledged event is lost, none counts twice, and nobody has to help (P1, P7)."""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from shared.engine import connect
from shared.snapshot import load
from tests.server import Server, run_foldlog

pytestmark = pytest.mark.crash


class Client(threading.Thread):
    """Sends events until told to stop, again when no answer came, and writes down what it intended and what was said.

    The files are the oracle: they are on no path of the server's, and an id is acknowledged only after a 200.
    """

    def __init__(self, server: Server, directory: Path, name: str) -> None:
        super().__init__(daemon=True)
        self._server, self._name = server, name
        self.intended = directory / f"{name}.intended"
        self.acknowledged = directory / f"{name}.acknowledged"
        self.stop = threading.Event()

    def run(self) -> None:
        number = 0
        with self.intended.open("w") as intended, self.acknowledged.open("w") as acknowledged:
            while not self.stop.is_set():
                number += 1
                ids = [f"{self._name}-{number:06d}-{part}" for part in range(3)]
                intended.write("".join(f"{id_}\n" for id_ in ids))
                intended.flush()
                for _ in range(1 + number % 3 // 2):  # some are sent twice though they were acknowledged
                    if self._send(ids):
                        acknowledged.write("".join(f"{id_}\n" for id_ in ids))
                        acknowledged.flush()

    def _send(self, ids: list[str]) -> bool:
        while not self.stop.is_set():
            try:
                if self._server.post([{"name": "pageview", "id": id_, "visitor": "v-crash"} for id_ in ids]).status == 200:
                    return True
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
        return False


def ids_of(files: list[Path]) -> set[str]:
    return {id_ for file in files for id_ in file.read_text().split()}


def counted_ids(server: Server) -> list[str]:
    paths = [str(path) for path in named_archive(server)]
    with connect(256 << 20, 1) as database:
        return [id_ for (id_,) in database.execute("SELECT id FROM read_parquet($1)", [paths]).fetchall()]


def named_archive(server: Server) -> list[Path]:
    days = load(server.data).days.items()
    return [server.data.part("archive", day, part.generation) for day, kept in days for part in kept.archive]


def check_oracle(server: Server, clients: list[Client]) -> None:
    acknowledged = ids_of([client.acknowledged for client in clients])
    intended = ids_of([client.intended for client in clients])
    counted = counted_ids(server)
    assert len(counted) == len(set(counted)), "an id is counted twice"
    assert acknowledged <= set(counted), f"{len(acknowledged - set(counted))} acknowledged events are lost"
    assert set(counted) <= intended, "something is counted that nobody sent"
    assert len(acknowledged) > 100


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.timeout(120)
def test_kill_9_of_everything_under_load_loses_no_acknowledged_event(tmp_path: Path) -> None:
    pick = random.Random(11)
    with Server(tmp_path, workers=2, segment_max_bytes=64 << 10, segment_max_age=1, fold_interval=1) as server:
        clients = [Client(server, tmp_path, f"client{number}") for number in range(4)]
        for client in clients:
            client.start()
        for _ in range(8):
            time.sleep(0.3 + pick.random())
            server.kill()
            server.start()
        time.sleep(0.5)
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join(20)
        server.fold()
        check_oracle(server, clients)


@pytest.mark.timeout(120)
def test_kill_9_of_single_children_is_mended_by_the_supervisor(tmp_path: Path) -> None:
    pick = random.Random(12)
    with Server(tmp_path, workers=2, segment_max_age=1, fold_interval=1) as server:
        clients = [Client(server, tmp_path, f"client{number}") for number in range(3)]
        for client in clients:
            client.start()
        for _ in range(10):
            time.sleep(0.2 + pick.random() / 2)
            victims = children(server.running.pid)
            if victims:
                os.kill(pick.choice(victims), signal.SIGKILL)
        time.sleep(3)
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join(20)
        wait_until(lambda: len(children(server.running.pid)) == 3)
        server.fold()
        check_oracle(server, clients)


def wait_until(true: Any, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_compactor_killed_at_any_moment_repeats_its_pass(tmp_path: Path) -> None:
    """SIGKILL a pass after 1, 2, 3 … of its durable steps, then let the next one finish."""
    killer = "import sys, os; from tests.killer import run; run(int(sys.argv[1]))"
    with Server(tmp_path) as server:
        for number in range(20):
            server.post([{"name": "pageview", "id": f"event-{number:03d}", "visitor": "v"}])
        server.stop()
        deaths = 0
        for steps in range(1, 40):
            done = subprocess.run([sys.executable, "-c", killer, str(steps)], env=server.environ, check=False)
            assert done.returncode in {0, -signal.SIGKILL}
            deaths += done.returncode != 0
            if done.returncode == 0:
                break
        assert deaths >= 5
        assert run_foldlog(["compact", "--once"], server.environ).returncode == 0
        assert sorted(counted_ids(server)) == [f"event-{number:03d}" for number in range(20)]
        assert load(server.data).totals.counted == 20
