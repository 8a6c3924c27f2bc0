"""The reader process: it starts for the first report, is replaced when it hangs or
dies, ends when it is idle, and never delays the events.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reports.reader.client import ReaderClient, ReportError
from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.settings import Settings
from tests.builders.logs import data_directory
from tests.builders.processes import children
from tests.builders.server import ADMIN_TOKEN, Answer, Server
from tests.builders.waiting import until, until_async
from tests.builders.worker import Worker

EVENT = {"name": "pageview", "visitor": "visitor-1"}
IDLE_TIMEOUT_S = 0.3
PATIENCE_S = 3600


def readers() -> list[int]:
    """The reader processes of this process, which may have children of other tests."""
    return [pid for pid in children(os.getpid()) if b"reports.reader.process" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


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
    with Worker(tmp_path, report_timeout=PATIENCE_S) as worker:
        before = set(readers())
        worker.post([EVENT])
        worker.fold()
        first = worker.get("/admin/api/report")
        (reader,) = set(readers()) - before
        os.kill(reader, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{reader}").exists())  # the worker has seen it
        assert worker.get("/admin/api/report").body == first.body
        worker.post([EVENT])
        worker.fold()
        again = worker.get("/admin/api/report").json()
        assert again["total"]["events"] == 2
        assert again["generation"] > first.json()["generation"]


def test_reader_process_that_dies_is_replaced(tmp_path: Path) -> None:
    with Worker(tmp_path, report_timeout=PATIENCE_S) as worker:
        before = set(readers())
        assert worker.get("/admin/api/report").status == 200
        (reader,) = set(readers()) - before
        os.kill(reader, signal.SIGKILL)
        statuses = [worker.get(f"/admin/api/report?limit={limit}").status for limit in (8, 9)]
        assert statuses[1] == 200
        assert statuses[0] in {200, 503}


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    """An empty directory, of which no answer is cached."""
    return data_directory(tmp_path / "data")


def client_of(data: DataDirectory, idle_timeout_s: float = PATIENCE_S) -> ReaderClient:
    """A client that waits for its processes, however busy the machine is: their
    priority is the lowest.
    """
    return ReaderClient(Settings(data_dir=data.root, report_timeout=PATIENCE_S), idle_timeout_s)


@pytest.fixture
async def hasty(data: DataDirectory) -> AsyncIterator[ReaderClient]:
    """A client whose processes are soon idle for too long."""
    client = client_of(data, idle_timeout_s=IDLE_TIMEOUT_S)
    yield client
    await client.close()


async def test_reader_process_has_a_lower_priority(reader: int) -> None:
    assert os.getpriority(os.PRIO_PROCESS, reader) == 19


async def test_idle_reader_process_ends_and_the_next_report_starts_another(hasty: ReaderClient) -> None:
    before = len(readers())
    assert b'"events":0' in await hasty.report({}, "json")
    assert len(readers()) == before + 1
    await asyncio.to_thread(until, lambda: len(readers()) == before)
    assert b'"events":0' in await hasty.report({}, "json")
    assert len(readers()) == before + 1


async def test_reader_process_in_use_does_not_end(hasty: ReaderClient) -> None:
    await hasty.report({}, "json")
    before = readers()
    for _ in range(6):
        await asyncio.sleep(IDLE_TIMEOUT_S / 2)
        await hasty.report({}, "json")
    assert readers() == before


async def test_close_waits_for_a_process_that_is_ending(data: DataDirectory) -> None:
    client = client_of(data, idle_timeout_s=0)
    before = set(readers())
    (asked,) = await ask(client, QUICK)
    await until_async(lambda: set(readers()) - before)
    (reader,) = set(readers()) - before
    await asked
    await turns(3)  # it is being killed
    await client.close()
    assert reader not in children(os.getpid())


SLOW, QUICK = {"limit": "7"}, {"limit": "8"}


@contextmanager
def stopped(*readers: int) -> Iterator[None]:
    """While these processes stand still, what they were asked last is a slow
    question.
    """
    for reader in readers:
        os.kill(reader, signal.SIGSTOP)
    try:
        yield
    finally:
        for reader in readers:
            os.kill(reader, signal.SIGCONT)


async def ask(client: ReaderClient, parameters: dict[str, str], times: int = 1) -> list[asyncio.Task[bytes]]:
    """Tasks that have come as far as they can without a process."""
    asked = [asyncio.ensure_future(client.report(parameters, "json")) for _ in range(times)]
    await turns(5)
    return asked


async def turns(number: int) -> None:
    """Let every task of the event loop go on so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.fixture
async def client(data: DataDirectory) -> AsyncIterator[ReaderClient]:
    client = client_of(data)
    yield client
    await client.close()


@pytest.fixture
async def reader(client: ReaderClient) -> int:
    """The process of a client that has answered its first question."""
    return await first_reader(client)


async def first_reader(client: ReaderClient) -> int:
    before = set(readers())
    await client.report({}, "json")
    (reader,) = set(readers()) - before
    return reader


async def test_one_question_of_several_is_answered_once_and_holds_up_no_other(
    client: ReaderClient, reader: int
) -> None:
    with stopped(reader):
        slow = await ask(client, SLOW, times=5)
        assert b'"events":0' in await client.report(QUICK, "json")
        assert not [task for task in slow if task.done()]  # a second process has not been asked the same
    assert len({id(answer) for answer in await asyncio.gather(*slow)}) == 1


async def test_second_process_ends_when_it_is_idle(hasty: ReaderClient) -> None:
    client, reader = hasty, await first_reader(hasty)
    with stopped(reader):
        slow = await ask(client, SLOW)
        await client.report(QUICK, "json")
        (second,) = set(readers()) - {reader}
        await until_async(lambda: second not in readers())
        assert reader in readers()  # it is busy, however long that takes
    await asyncio.gather(*slow)


async def test_there_are_at_most_two_processes_and_other_questions_wait(client: ReaderClient, reader: int) -> None:
    with stopped(reader):
        slow = await ask(client, SLOW)
        await client.report(QUICK, "json")
        (second,) = set(readers()) - {reader}
        with stopped(second):
            waiting = [task for limit in range(20, 25) for task in await ask(client, {"limit": str(limit)})]
            await asyncio.sleep(0.3)
            assert set(readers()) == {reader, second}
        await asyncio.gather(*waiting)
    await asyncio.gather(*slow)


async def test_close_ends_what_waits_and_starts_no_other_process(client: ReaderClient, reader: int) -> None:
    before = set(readers()) - {reader}
    os.kill(reader, signal.SIGSTOP)
    asked = [task for limit in range(20, 25) for task in await ask(client, {"limit": str(limit)})]
    await client.close()
    assert set(readers()) == before
    refused = await asyncio.gather(*asked, return_exceptions=True)
    assert [error.code for error in refused if isinstance(error, ReportError)] == ["report_failed"] * 5


@pytest.mark.parametrize("passed", range(12))
async def test_close_while_a_process_starts_ends_it(data: DataDirectory, passed: int) -> None:
    client, before = client_of(data), set(readers())
    asked = asyncio.ensure_future(client.report({}, "json"))
    await turns(passed)
    await client.close()
    assert set(readers()) == before
    with pytest.raises(ReportError):
        await asked
    assert set(readers()) == before


@pytest.mark.parametrize("passed", [1, 5])
async def test_close_waits_for_the_end_of_a_report_that_nobody_wants(data: DataDirectory, passed: int) -> None:
    client = client_of(data)
    reader = await first_reader(client)
    os.kill(reader, signal.SIGSTOP)
    (asked,) = await ask(client, SLOW)
    asked.cancel()
    await turns(passed)
    await client.close()
    assert reader not in children(os.getpid())


async def test_one_asker_that_leaves_takes_the_answer_from_no_other(client: ReaderClient, reader: int) -> None:
    with stopped(reader):
        leaves, stays = await ask(client, SLOW, times=2)
        leaves.cancel()
        assert isinstance((await asyncio.gather(leaves, return_exceptions=True))[0], asyncio.CancelledError)
        assert not stays.done()
    assert b'"events":0' in await stays
    assert reader in readers()


async def test_report_stops_when_the_last_asker_leaves(client: ReaderClient, reader: int) -> None:
    os.kill(reader, signal.SIGSTOP)
    asked = await ask(client, SLOW, times=2)
    for task in asked:
        task.cancel()
    await until_async(lambda: reader not in readers())
    assert b'"events":0' in await client.report(SLOW, "json")


async def test_several_askers_get_one_refusal(client: ReaderClient) -> None:
    refused = await asyncio.gather(*await ask(client, {"by": "visitor"}, times=3), return_exceptions=True)
    assert [error.code for error in refused if isinstance(error, ReportError)] == ["query"] * 3


async def test_question_after_a_new_snapshot_gets_no_answer_of_the_old_one(
    data: DataDirectory, client: ReaderClient, reader: int
) -> None:
    with stopped(reader):
        before = await ask(client, SLOW)
        publish(data.snapshot, encode_snapshot(Snapshot(generation=7)))
        assert b'"generation":7' in await client.report(SLOW, "json")
        assert not before[0].done()
    await asyncio.gather(*before)


def test_report_whose_client_leaves_is_stopped(tmp_path: Path) -> None:
    with Worker(tmp_path) as worker:
        before = set(readers())
        assert worker.get("/admin/api/report").status == 200
        (reader,) = set(readers()) - before
        os.kill(reader, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", worker.port), 20) as connection:
            head = f"GET /admin/api/report?limit=7 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
            connection.sendall(head.encode())
            until(lambda: worker.context.in_flight == 1)
        until(lambda: reader not in readers())
        assert worker.get("/admin/api/report?limit=7").status == 200
