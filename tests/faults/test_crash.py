"""Real processes that really die: no acknowledged event is lost, none counts twice, and
nobody has to help (P1, P7).

A sample of tests/faults/random_kills.py, which does the same a thousand times.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders.server import Server
from tests.faults.clients import fleet, sending, unexpected
from tests.faults.oracle import acknowledged, intended, judge
from tests.faults.random_kills import MEND_TIMEOUT_S, WORKERS, children, fold, generation, kill_child, wait_until

pytestmark = [pytest.mark.crash, pytest.mark.long]


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
    told = acknowledged(directory)
    assert not judge(server.data.root, intended(directory), told, folded=True, generation=newest)
    assert len(told) > 100
    assert unexpected(clients) == []


@pytest.mark.timeout(180)
def test_kill_9_of_everything_under_load_loses_no_acknowledged_event(tmp_path: Path) -> None:
    pick = random.Random(11)
    with loaded(tmp_path) as server:
        for _ in range(3):
            time.sleep(pick.uniform(0.1, 0.4))
            server.kill()
            server.start()


@pytest.mark.timeout(180)
def test_kill_9_of_single_children_is_mended_by_the_supervisor(tmp_path: Path) -> None:
    pick = random.Random(12)
    with loaded(tmp_path) as server:
        for name in ("ingest-0", "compact", "ingest-1", "ingest-0"):
            time.sleep(pick.uniform(0.05, 0.3))
            kill_child(server, name)
        assert server.running.poll() is None
