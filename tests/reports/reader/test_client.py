"""The reader process: it starts for the first report, is replaced when it hangs or
dies, ends when it is idle, and never delays the events.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reports.reader.client import ReaderClient
from shared.settings import Settings
from tests.builders.logs import data_directory
from tests.builders.processes import children
from tests.builders.server import Answer, Server
from tests.builders.waiting import until

EVENT = {"name": "pageview", "visitor": "visitor-1"}
IDLE_TIMEOUT_S = 0.3


def reader_of(server: Server) -> int:
    """The only grandchild of `serve`: the reader process of its one worker."""
    (reader,) = [reader for child in children(server.running.pid) for reader in children(child)]
    return reader


@pytest.mark.long
def test_report_that_hangs_times_out_and_delays_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, report_timeout=2) as server:
        server.post([EVENT])
        server.fold()
        assert server.get("/admin/api/report").json()["total"]["events"] == 1
        hanging = reader_of(server)
        os.kill(hanging, signal.SIGSTOP)

        answers: list[Answer] = []
        # Another query: the answer to the first is cached.
        report = threading.Thread(target=lambda: answers.append(server.get("/admin/api/report?by=path")))
        report.start()
        accepted = 0
        while report.is_alive():
            accepted += server.post([EVENT]).status == 200
        report.join()
        assert accepted > 10
        assert (answers[0].status, answers[0].code) == (503, "report_timeout")
        assert answers[0].headers["Retry-After"]

        assert server.get("/admin/api/report?by=path").json()["total"]["events"] == 1
        assert reader_of(server) != hanging


def test_one_query_of_one_snapshot_is_read_once(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.post([EVENT])
        server.fold()
        first = server.get("/admin/api/report")
        os.kill(reader_of(server), signal.SIGKILL)
        assert server.get("/admin/api/report").body == first.body
        server.post([EVENT])
        server.fold()
        again = server.get("/admin/api/report").json()
        assert again["total"]["events"] == 2
        assert again["generation"] > first.json()["generation"]


def test_reader_process_has_a_lower_priority(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.get("/admin/api/report").status == 200
        assert os.getpriority(os.PRIO_PROCESS, reader_of(server)) == 19


def test_reader_process_that_dies_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.get("/admin/api/report").status == 200
        os.kill(reader_of(server), signal.SIGKILL)
        statuses = [server.get("/admin/api/report").status for _ in range(2)]
        assert statuses[1] == 200
        assert statuses[0] in {200, 503}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ReaderClient]:
    """Of an empty directory, whose answers are not cached."""
    settings = Settings(data_dir=data_directory(tmp_path / "data").root)
    client = ReaderClient(settings, idle_timeout_s=IDLE_TIMEOUT_S)
    yield client
    await client.close()


async def test_idle_reader_process_ends_and_the_next_report_starts_another(client: ReaderClient) -> None:
    before = len(children(os.getpid()))
    assert b'"events":0' in await client.report({}, "json")
    assert len(children(os.getpid())) == before + 1
    await asyncio.to_thread(until, lambda: len(children(os.getpid())) == before)
    assert b'"events":0' in await client.report({}, "json")
    assert len(children(os.getpid())) == before + 1


async def test_reader_process_in_use_does_not_end(client: ReaderClient) -> None:
    await client.report({}, "json")
    before = children(os.getpid())
    for _ in range(6):
        await asyncio.sleep(IDLE_TIMEOUT_S / 2)
        await client.report({}, "json")
    assert children(os.getpid()) == before
