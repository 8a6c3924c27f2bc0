"""P1: a 200 is durable, and never sent for anything less.

The kills are a sample of tests/faults/random_kills.py, which makes a thousand.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.builders.server import Server
from tests.faults.clients import fleet, sending, unexpected
from tests.faults.oracle import acknowledged, find_violations, intended
from tests.faults.random_kills import MEND_TIMEOUT_S, WORKERS, children, fold, generation, kill_child, wait_until

pytestmark = pytest.mark.crash


@contextmanager
def loaded(directory: Path) -> Iterator[Server]:
    """A server under the load of four clients. When the block ends it is whole again,
    and what it holds is what they sent.
    """
    with Server(directory, workers=WORKERS, segment_max_bytes=64 << 10, segment_max_age=1, fold_interval=1) as server:
        clients = fleet(server, directory, count=4, size=3)
        with sending(clients):
            yield server
            newest = generation(server)
            wait_until(lambda: len(children(server)) == WORKERS + 1, MEND_TIMEOUT_S)
        fold(server)
    acked = acknowledged(directory)
    assert not find_violations(server.data.root, intended(directory), acked, folded=True, generation=newest)
    assert len(acked) > 100
    assert unexpected(clients) == []


def test_kill_9_of_everything_under_load_loses_no_acknowledged_event(tmp_path: Path) -> None:
    pick = random.Random(11)
    with loaded(tmp_path) as server:
        for _ in range(3):
            time.sleep(pick.uniform(0.1, 0.4))
            server.kill()
            server.start()


@pytest.mark.long
def test_kill_9_of_single_children_is_mended_by_the_supervisor(tmp_path: Path) -> None:
    pick = random.Random(12)
    with loaded(tmp_path) as server:
        for name in ("ingest-0", "compact", "ingest-1", "ingest-0"):
            time.sleep(pick.uniform(0.05, 0.3))
            kill_child(server, name)
        assert server.running.poll() is None


def test_every_acknowledged_id_is_in_the_log_when_the_answer_comes(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        for number in range(100):
            id_ = f"acknowledged-{number:04}"
            assert server.post([{"name": "x", "id": id_}]).status == 200
            assert id_ in {line["id"] for line in server.lines()}


def test_without_sync_the_answer_is_202(tmp_path: Path) -> None:
    with Server(tmp_path, durability="os") as server:
        assert server.post([{"name": "x"}]).status == 202
        assert server.post([{"name": "x"}, {"name": ""}]).status == 202
        assert server.post([{"name": ""}]).status == 422
        assert [line["name"] for line in server.lines()] == ["x", "x"]


def test_stop_under_load_acknowledges_only_what_is_on_disk(tmp_path: Path) -> None:
    """Late requests get 503 or are cut off, and the exit is clean
    (`with` asserts it).
    """
    with Server(tmp_path) as server:
        acknowledged: list[str] = []
        others: set[int] = set()

        def send(client: int) -> None:
            with suppress(OSError, http.client.HTTPException):
                for number in range(10_000):
                    id_ = f"client{client}-{number:05}"
                    status = server.post([{"name": "x", "id": id_}]).status
                    if status == 200:
                        acknowledged.append(id_)
                    else:
                        others.add(status)

        clients = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.5)
        assert server.stop() == 0
        for client in clients:
            client.join(60)
        assert acknowledged
        assert others <= {503}
        ids = [line["id"] for line in server.lines()]
        assert set(acknowledged) <= set(ids)
        assert len(ids) == len(set(ids)) <= len(acknowledged) + len(clients)
