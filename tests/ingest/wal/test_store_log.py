"""FOLDLOG_DURABILITY=store: an append succeeds exactly when its lines are in the
segment and in a row of the store, whatever happens to the store.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest.collect.encode import encode_lines
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.store_log import TakenOver
from ingest.wal.unavailable import Unavailable
from shared.disk.layout import DataDirectory
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from tests.builders.logs import data_directory, fold_all, line
from tests.builders.postgres import Server
from tests.builders.server import lines_of
from tests.builders.silent_log import SilentLog
from tests.builders.stores import publish, queried
from tests.builders.waiting import TIMEOUT_S, until_async

pytestmark = pytest.mark.component

ROWS = "SELECT writer, sequence, first_byte, lines FROM analytics_log ORDER BY writer, sequence, first_byte"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO analytics_log%'"


@pytest.fixture
def store(postgres: Server) -> str:
    return postgres.database()


def start(data: DataDirectory, store: str, log: SilentLog | None = None, **settings: Any) -> CommitQueue:
    chosen = Settings(data_dir=data.root, durability="store", store=store, **settings)
    return CommitQueue(data, "0", chosen, log or SilentLog())


def events(*numbers: int) -> bytes:
    return encode_lines([line(f"event-{number:04d}") for number in numbers])


def ids(data: DataDirectory) -> list[str]:
    return sorted(each["id"] for each in lines_of(data))


def segment_bytes(store: str) -> bytes:
    """The rows of one segment, which must have no gap."""
    found = b""
    for _, _, first_byte, lines in queried(store, ROWS):
        assert first_byte == len(found)
        found += bytes(lines)
    return found


async def test_awaited_lines_are_in_segment_and_store(tmp_path: Path, store: str) -> None:
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1, 2), 2)
    await asyncio.gather(*[writer.append(events(number), 1) for number in range(3, 100)])
    assert segment_bytes(store) == data.active("0").read_bytes()
    assert len(queried(store, ROWS)) < 20
    await writer.close()
    assert len(ids(data)) == 99


async def test_rows_leave_once_their_segment_is_folded_and_published(tmp_path: Path, store: str) -> None:
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1), 1)
    writer.request_seal()
    await until_async(lambda: sealed_segments(data))
    await writer.append(events(2), 1)
    fold_all(data)
    publish(data, store=store)
    assert [(sequence, bytes(lines)) for _, sequence, _, lines in queried(store, ROWS)] == [(2, events(2))]
    await writer.close()


async def test_store_that_is_down_costs_the_answer_and_leaves_no_line(
    tmp_path: Path, store: str, postgres: Server
) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, store, log)
    await writer.append(events(1), 1)
    postgres.stop()
    for number in range(2, 5):
        with pytest.raises(Unavailable, match="the store cannot be written"):
            await writer.append(events(number), 1)
    # The first of them was sent to find out; no other one is in the segment.
    assert ids(data) in (["event-0001"], ["event-0001", "event-0002"])
    assert log.warnings == ["commit_failed"]
    assert writer.failed_s < 60
    postgres.start()
    await _until_stored(writer)
    await writer.append(events(6), 1)
    assert segment_bytes(store) == data.active("0").read_bytes()
    await writer.close()


async def _until_stored(writer: CommitQueue) -> None:
    """As a client that repeats what was refused."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                return await writer.append(events(5), 1)
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_worker_starts_before_its_store(tmp_path: Path, store: str, postgres: Server) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    postgres.stop()
    writer = start(data, store, log)
    assert "segment_not_opened" in log.warnings
    with pytest.raises(Unavailable):
        await writer.append(events(1), 1)
    postgres.start()
    await until_async(writer.has_segment)
    await writer.append(events(2), 1)
    assert segment_bytes(store) == data.active("0").read_bytes()
    await writer.close()


async def test_connection_that_is_ended_is_replaced(tmp_path: Path, store: str) -> None:
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1), 1)
    queried(store, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    await writer.append(events(2), 1)
    assert segment_bytes(store) == data.active("0").read_bytes()
    await writer.close()


async def test_lines_of_a_lost_insert_are_sent_with_the_next(tmp_path: Path, store: str) -> None:
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1), 1)
    with psycopg.connect(store) as connection:
        connection.execute("LOCK TABLE analytics_log IN ACCESS EXCLUSIVE MODE")
        done = writer.append(events(2), 1)
        for _ in range(2):  # the first try, and its repetition
            await until_async(lambda: queried(store, WAITING))
            queried(store, f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) AS waiting")
        with pytest.raises(Unavailable):
            await done
    assert ids(data) == ["event-0001", "event-0002"]
    await _until_stored(writer)
    assert segment_bytes(store) == data.active("0").read_bytes()
    await writer.close()


async def test_insert_that_was_made_and_not_answered_is_there_once(tmp_path: Path, store: str) -> None:
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1), 1)
    store_log = writer.segment_writer.store_log
    assert store_log is not None
    for _ in range(2):
        store_log.finish(1, 0, events(1))
    assert segment_bytes(store) == events(1)
    await writer.close()


def queried_change(store: str, sql: str) -> None:
    with psycopg.connect(store) as connection:
        connection.execute(sql.encode())


async def test_host_that_was_taken_over_acknowledges_nothing(tmp_path: Path, store: str) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, store, log)
    await writer.append(events(1), 1)
    queried_change(store, f"UPDATE analytics_folded SET tenure = '{uuid.uuid4()}'")
    for _ in range(2):
        with pytest.raises(TakenOver):
            await writer.append(events(2), 1)
    assert writer.is_taken_over
    assert log.warnings == ["instance_taken_over"]
    await writer.close()
    again = start(data, store, log)
    assert not again.has_segment()
    with pytest.raises(TakenOver):
        await again.append(events(3), 1)
    assert [bytes(row[3]) for row in queried(store, ROWS)] == [events(1)]
    await again.close()


async def test_store_that_forgot_the_instance_learns_it_again(tmp_path: Path, store: str) -> None:
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1), 1)
    queried_change(store, "DELETE FROM analytics_folded")
    await writer.append(events(2), 1)
    assert segment_bytes(store) == data.active("0").read_bytes()
    await writer.close()


async def test_lines_that_a_truncated_segment_lost_come_back_from_the_store(tmp_path: Path, store: str) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    writer = start(data, store, log)
    await writer.append(events(1, 2), 2)
    os.truncate(data.active("0"), 0)
    await writer.append(events(3), 1)
    await writer.close()
    assert {"segment_truncated", "segment_restored"} <= set(log.warnings)
    assert ids(data) == ["event-0001", "event-0002", "event-0003"]
    fold_all(data)


def rename_and_replace(path: Path) -> None:
    path.rename(path.with_name("active-0.ndjson.1"))
    path.write_bytes(events(7))


IN_FLIGHT = {
    "renamed, another created": (rename_and_replace, {7}),
    "truncated": (lambda path: os.truncate(path, 0), set()),
}


@pytest.mark.parametrize(("act", "more"), IN_FLIGHT.values(), ids=IN_FLIGHT)
async def test_rows_follow_a_group_that_is_displaced_in_flight(
    tmp_path: Path, store: str, act: Callable[[Path], None], more: set[int]
) -> None:
    """Between the write and the check after the sync."""
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1), 1)
    active = writer.segment_writer.active
    assert active is not None
    real = active._sync

    def displace_and_go_on(descriptor: int) -> None:
        act(data.active("0"))
        real(descriptor)

    active._sync = displace_and_go_on
    await writer.append(events(2), 1)
    await writer.append(events(3), 1)
    await writer.close()
    rows = [(sequence, bytes(lines)) for _, sequence, _, lines in queried(store, ROWS)]
    assert sorted(lines for _, lines in rows) == [events(1), events(2), events(3)]
    segments = {segment.name.sequence: segment.path.read_bytes() for segment in sealed_segments(data)}
    assert all(lines in segments[sequence] for sequence, lines in rows)
    assert set(ids(data)) == {f"event-{number:04d}" for number in {1, 2, 3} | more}


async def test_rows_follow_a_segment_that_is_sealed_under_another_number(tmp_path: Path, store: str) -> None:
    data = data_directory(tmp_path)
    writer = start(data, store)
    await writer.append(events(1), 1)
    data.active("0").rename(data.log / "active-0.ndjson.1")
    (data.log / "active-0.ndjson").write_bytes(events(7))  # recovered under the number of the open segment
    await until_async(lambda: len(sealed_segments(data)) >= 2)
    await writer.append(events(2), 1)
    names = {segment.path.read_bytes(): segment.name.sequence for segment in sealed_segments(data)}
    expected = {(names[events(1)], events(1))}
    found = {(sequence, bytes(lines)) for _, sequence, _, lines in queried(store, ROWS)}
    assert expected <= found
    assert len(found) == 2
    await writer.close()
