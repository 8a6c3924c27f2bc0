"""Hosts without a disk that lasts, as real processes: what was answered with 200 counts
once, whatever is killed and wherever it goes on.
"""

from __future__ import annotations

import http.client
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from shared.exit_codes import USAGE
from tests.builders.postgres import Server as Postgres
from tests.builders.server import Server, environment, failing, run_foldlog
from tests.builders.store_hosts import counted_ids
from tests.builders.stores import queried
from tests.builders.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.crash]
BATCH = 200
END_THE_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND datname = current_database()
"""


@pytest.fixture
def store(postgres: Postgres) -> str:
    return postgres.database()


def host(directory: Path, store: str, instance: uuid.UUID, **settings: object) -> Server:
    directory.mkdir()
    return Server(directory, durability="store", store=store, instance=instance, **{"fold_interval": 1, **settings})


def event(id_: str) -> dict[str, str]:
    return {"name": "pageview", "id": id_, "visitor": "visitor-1", "url": "https://example.com/"}


class Load:
    """Clients that send one event after the other. `sent` and `acknowledged` are
    ids.
    """

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.refused: set[tuple[int, str | None]] = set()

    @contextmanager
    def on(self, server: Server, clients: int = 3) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._send, args=(server, stop)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _send(self, server: Server, stop: threading.Event) -> None:
        while not stop.is_set():
            id_ = uuid.uuid4().hex
            self.sent.add(id_)
            with suppress(OSError, http.client.HTTPException):
                answer = server.post([event(id_)])
                if answer.status == 200:
                    self.acknowledged.add(id_)
                else:
                    self.refused.add((answer.status, answer.headers["Retry-After"]))

    def go_on(self, server: Server, events: int = 20) -> None:
        """Wait until so many more are acknowledged."""
        enough = len(self.acknowledged) + events
        until(lambda: len(self.acknowledged) > enough, server.log_tail)

    def repeat(self, server: Server) -> None:
        """All of them, as clients that had no answer do."""
        ids = sorted(self.sent)
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            assert server.post([event(id_) for id_ in batch]).status == 200
            self.acknowledged.update(batch)


def published(server: Server, store: str) -> None:
    """Wait until the store has all that was acknowledged."""
    generation = server.fold()
    held = "SELECT max(generation) FROM analytics_folded"
    until(lambda: (queried(store, held)[0][0] or 0) >= generation, server.log_tail)


def assert_counted_once(store: str, tmp_path: Path, load: Load) -> None:
    found = counted_ids(store, tmp_path)
    assert load.acknowledged <= set(found) <= load.sent
    assert set(found.values()) == {1}


@pytest.mark.parametrize("lives", [2, pytest.param(10, marks=[pytest.mark.long, pytest.mark.whole])])
def test_nothing_acknowledged_is_lost_with_the_disk(tmp_path: Path, store: str, lives: int) -> None:
    instance, load = uuid.uuid4(), Load()
    for life in range(lives):
        server = host(tmp_path / str(life), store, instance, workers=1 + life % 2)
        server.start()
        with load.on(server):
            # Some lives end before anything is published, some after.
            load.go_on(server, 40)
            if life % 2:
                published(server, store)
            load.go_on(server, 40)
            server.kill()
        shutil.rmtree(server.data.root)
        server._port_holder.close()
    with host(tmp_path / "last", store, instance) as server:
        published(server, store)
        assert_counted_once(store, tmp_path, load)
        load.repeat(server)
        published(server, store)
        assert_counted_once(store, tmp_path, load)
        report = server.get("/admin/api/report").json()
        assert report["total"]["events"] == len(load.sent)


@pytest.mark.long
def test_a_host_that_still_lives_acknowledges_and_publishes_nothing(tmp_path: Path, store: str) -> None:
    instance, load = uuid.uuid4(), Load()
    with host(tmp_path / "old", store, instance) as old, load.on(old, 1):
        until(lambda: len(load.acknowledged) > 20, old.log_tail)
        with host(tmp_path / "new", store, instance) as new:
            until(lambda: load.refused, old.log_tail)
            before = len(load.acknowledged)
            time.sleep(0.2)
            assert len(load.acknowledged) == before
            assert load.refused == {(503, "30")}
            assert {"store", "writable"} <= failing(old)
            assert '"event":"instance_taken_over"' in old.stderr().replace(" ", "")
            old.fold()
            until(lambda: "store_publish_failed" in old.stderr(), old.log_tail)
            published(new, store)
            assert_counted_once(store, tmp_path, load)
            assert queried(store, "SELECT count(*) FROM analytics_folded") == [(1,)]


@pytest.mark.long  # in short: tests/ingest/wal/test_store_log.py
def test_a_database_that_is_down_costs_answers_and_no_event(tmp_path: Path, postgres: Postgres, store: str) -> None:
    load = Load()
    with host(tmp_path / "host", store, uuid.uuid4()) as server:
        with load.on(server):
            load.go_on(server)
            postgres.kill()
            until(lambda: load.refused, server.log_tail)
            assert "writable" in failing(server)
            postgres.start()
            load.go_on(server)
        assert load.refused == {(503, "30")}
        published(server, store)
        assert_counted_once(store, tmp_path, load)


@pytest.mark.long
def test_connections_that_are_ended_cost_no_event(tmp_path: Path, store: str) -> None:
    load = Load()
    with host(tmp_path / "host", store, uuid.uuid4()) as server:
        with load.on(server):
            for _ in range(20):
                with psycopg.connect(store) as connection:
                    connection.execute(END_THE_OTHERS.encode())
                time.sleep(0.05)
            load.go_on(server)
        published(server, store)
        assert_counted_once(store, tmp_path, load)


@pytest.mark.long
def test_a_directory_of_another_instance_is_refused(tmp_path: Path, store: str) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    with host(tmp_path / "host", store, first) as server:
        assert server.post([event("event-000001")]).status == 200
    for command in (["serve"], ["ingest", "--writer", "0"], ["compact", "--once"], ["store", "takeover"]):
        environ = environment(server.data.root, durability="store", store=store, instance=second, listen=server.host)
        done = run_foldlog(command, environ)
        assert done.returncode == USAGE, done
        assert str(second) in done.stderr and str(first) in done.stderr
