"""Group commit: an append succeeds exactly when its lines are on disk, whatever happens
to the disk or the caller.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ingest.collect.encode import encode_lines
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import Busy, DiskFull, Stopping, Unavailable
from shared.disk.control_files import touch
from shared.disk.layout import DataDirectory
from shared.segments.recovery import WriterAlive
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from tests.builders.disks import small_disk
from tests.builders.logs import data_directory, line
from tests.builders.server import lines_of
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import until_async


def start(
    data: DataDirectory, log: SilentLog | None = None, on_fatal: Any = lambda: None, **settings: Any
) -> CommitQueue:
    return CommitQueue(data, "0", Settings(data_dir=data.root, **settings), log or SilentLog(), on_fatal)


def events(*numbers: int) -> bytes:
    return encode_lines([line(f"event-{number:04d}") for number in numbers])


def ids(data: DataDirectory) -> list[str]:
    return sorted(each["id"] for each in lines_of(data))


async def test_awaited_lines_are_on_disk(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    await writer.append(events(1, 2), 2)
    assert ids(data) == ["event-0001", "event-0002"]
    await writer.close()


async def test_many_callers_share_few_commits(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    syncs = []
    assert writer.segment_writer.active is not None
    real = writer.segment_writer.active._sync

    def counting(descriptor: int) -> None:
        syncs.append(descriptor)
        real(descriptor)

    writer.segment_writer.active._sync = counting
    await asyncio.gather(*[writer.append(events(number), 1) for number in range(200)])
    assert len(ids(data)) == 200
    assert len(syncs) < 20
    await writer.close()


async def test_close_commits_the_queue_and_seals(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    waiting = [writer.append(events(number), 1) for number in range(50)]
    await writer.close()
    assert all(done.done() and done.exception() is None for done in waiting)
    assert not data.active("0").exists()
    assert len(ids(data)) == 50
    with pytest.raises(Stopping):
        writer.append(events(51), 1)


async def test_cancelled_caller_does_not_cancel_the_write(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    cancelled = writer.append(events(1), 1)
    cancelled.cancel()
    await writer.append(events(2), 1)
    assert ids(data) == ["event-0001", "event-0002"]
    await writer.close()


async def test_queue_is_bounded_by_bytes(tmp_path: Path) -> None:
    writer = start(data_directory(tmp_path), queue_max_bytes=1000)
    first = writer.append(bytes(900), 1)
    with pytest.raises(Busy):
        writer.append(bytes(200), 1)
    await first
    await writer.append(bytes(900), 1)
    await writer.close()


async def test_queue_is_bounded_by_requests(tmp_path: Path) -> None:
    writer = start(data_directory(tmp_path), queue_max_requests=3)
    waiting = [writer.append(events(number), 1) for number in range(3)]
    assert (writer.is_full(), writer.waiting) == (True, (3, 3 * len(events(0))))
    with pytest.raises(Busy):
        writer.append(events(3), 1)
    await asyncio.gather(*waiting)
    assert (writer.is_full(), writer.waiting) == (False, (0, 0))
    await writer.append(events(4), 1)
    await writer.close()


# The sizes that wait in a queue of 3 requests and 1000 bytes, how many more bytes come,
# and whether the queue is full for them.
FULL_QUEUES: dict[str, tuple[list[int], int, bool]] = {
    "nothing waits": ([], 0, False),
    "nothing waits, all bytes": ([], 1000, False),
    "nothing waits, a byte too many": ([], 1001, True),
    "bytes are left": ([400, 400], 200, False),
    "a byte is missing": ([400, 400], 201, True),
    "all bytes are taken": ([500, 500], 0, False),
    "all requests are taken": ([1, 1, 1], 0, True),
}


@pytest.mark.parametrize(("sizes", "more", "full"), FULL_QUEUES.values(), ids=FULL_QUEUES)
async def test_queue_is_full_by_bytes_or_requests(tmp_path: Path, sizes: list[int], more: int, full: bool) -> None:
    writer = start(data_directory(tmp_path), queue_max_requests=3, queue_max_bytes=1000)
    waiting = [writer.append(bytes(size), 1) for size in sizes]
    assert writer.is_full(more) == full
    await asyncio.gather(*waiting)
    assert writer.waiting == (0, 0)
    await writer.close()


async def test_failed_lines_leave_the_queue(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    shutil.rmtree(data.log)
    with pytest.raises(Unavailable):
        await writer.append(events(1), 1)
    assert writer.waiting == (0, 0)
    data.log.mkdir()
    await writer.close()


async def test_stall_is_reported_while_it_lasts(tmp_path: Path) -> None:
    writer = start(data_directory(tmp_path))
    assert writer.stalled_s == 0
    resume = threading.Event()

    def stall(_descriptor: int) -> None:
        resume.wait()

    assert writer.segment_writer.active is not None
    writer.segment_writer.active._sync = stall
    done = writer.append(events(1), 1)
    await asyncio.sleep(0.3)
    assert writer.stalled_s > 0.25
    resume.set()
    await done
    await asyncio.sleep(0)
    assert writer.stalled_s == 0
    await writer.close()


async def test_first_append_after_a_pause_is_not_a_stall(tmp_path: Path) -> None:
    """Between the append and the next turn of the loop a readiness check may be
    answered.
    """
    writer = start(data_directory(tmp_path))
    for number in (1, 2):
        await asyncio.sleep(0.5)
        appended_at = time.monotonic()
        done = writer.append(events(number), 1)
        assert writer.stalled_s <= time.monotonic() - appended_at
        await done
    await writer.close()


async def test_failure_is_reported_until_the_next_success(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    assert writer.failed_s == float("inf")
    shutil.rmtree(data.log)
    with pytest.raises(Unavailable):
        await writer.append(events(1), 1)
    assert 0 <= writer.failed_s < float("inf")
    data.log.mkdir()
    await writer.append(events(2), 1)
    assert writer.failed_s == float("inf")
    await writer.close()


async def test_writer_without_a_segment_opens_one_without_traffic(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    shutil.rmtree(data.log)
    with pytest.raises(Unavailable):
        await writer.append(events(1), 1)
    assert not writer.has_segment()
    await asyncio.sleep(1.5)  # more than one failed try
    assert not writer.has_segment()
    data.log.mkdir()
    await until_async(writer.has_segment)
    assert data.active("0").exists()
    await writer.close()


@pytest.mark.parametrize("lines", [0, 1], ids=["empty", "with lines"])
@pytest.mark.parametrize("act", ["rename", "delete"])
async def test_displaced_segment_is_replaced_without_traffic(tmp_path: Path, act: str, lines: int) -> None:
    data = data_directory(tmp_path)
    log = SilentLog()
    writer = start(data, log)
    if lines:
        await writer.append(events(1), 1)
    assert writer.has_segment()
    path = data.active("0")
    if act == "rename":
        path.rename(path.with_name("rotated.1"))
    else:
        path.unlink()
    assert not writer.has_segment()
    await until_async(writer.has_segment)
    assert log.outcomes("segment_displaced") == (["recovered"] if lines else ["empty"])
    await writer.append(events(2), 1)
    assert ids(data) == ["event-0001", "event-0002"][-1 - lines :]
    await writer.close()


async def test_segment_counts_as_held_while_it_is_sealed(tmp_path: Path) -> None:
    """Each fold requests a seal, during which a readiness check must not fail."""
    data = data_directory(tmp_path)
    writer = start(data, segment_max_bytes=1)
    held = set()
    for number in range(5):
        done = writer.append(events(number), 1)
        while not done.done() or len(sealed_segments(data)) <= number:
            held.add(writer.has_segment())
            await asyncio.sleep(0)
    await until_async(writer.has_segment)
    assert held == {True}
    await writer.close()


async def test_segment_counts_as_held_during_a_commit(tmp_path: Path) -> None:
    writer = start(data_directory(tmp_path), durability="os")
    held = set()
    for number in range(1_000):
        done = writer.append(events(number), 1)
        while not done.done():
            held.add(writer.has_segment())
            await asyncio.sleep(0)
    assert held == {True}
    await writer.close()


async def test_seals_by_size(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data, segment_max_bytes=500)
    for number in range(6):
        await writer.append(events(number), 1)
    await writer.close()
    assert [found.name.sequence for found in sealed_segments(data)] == [1, 2, 3]
    assert len(ids(data)) == 6


async def test_seals_by_age_without_traffic(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data, segment_max_age=0.3)
    await writer.append(events(1), 1)
    for _ in range(50):
        await asyncio.sleep(0.1)
        if sealed_segments(data) and data.active("0").exists():
            break
    assert len(sealed_segments(data)) == 1
    assert data.active("0").stat().st_size == 0
    await writer.close()


async def test_seals_on_request(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    await writer.append(events(1), 1)
    touch(data.seal_request)
    for _ in range(50):
        await asyncio.sleep(0.1)
        if sealed_segments(data):
            break
    assert len(sealed_segments(data)) == 1
    await writer.close()


async def test_abandoned_segment_is_recovered_before_the_first_request(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    first = start(data)
    await first.append(events(1), 300)
    content = data.active("0").read_bytes()
    await first.close()
    for path in data.log.iterdir():
        path.unlink()
    data.active("0").write_bytes(content + b"torn")
    log = SilentLog()
    second = start(data, log)
    assert log.events() == ["segment_recovered"]
    assert ids(data) == ["event-0001"]
    await second.close()


async def test_second_writer_of_the_same_name_cannot_start(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    writer = start(data)
    with pytest.raises(WriterAlive):
        start(data)
    await writer.close()


async def test_failed_sync_is_not_acknowledged_and_ends_the_writer(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    log = SilentLog()
    ended = []
    writer = start(data, log, lambda: ended.append(1))
    await writer.append(events(1), 1)

    def fail(_descriptor: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert writer.segment_writer.active is not None
    writer.segment_writer.active._sync = fail
    first = writer.append(events(2), 1)
    await asyncio.sleep(0)
    second = writer.append(events(3), 1)
    for failed in (first, second):
        with pytest.raises(Unavailable):
            await failed
    assert ended == [1]
    assert "segment_suspect" in log.events()
    with pytest.raises(Stopping):
        writer.append(events(4), 1)
    await writer.close()
    assert "event-0001" in ids(data)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
async def test_writer_recovers_from_a_full_disk_by_itself(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "512k") as disk:
        data = data_directory(disk / "data")
        writer = start(data)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(340_000))
        stored = []
        with pytest.raises(DiskFull):
            for number in range(10_000):
                await writer.append(events(number), 1)
                stored.append(f"event-{number:04d}")
        assert len(stored) > 100
        ballast.unlink()
        await writer.append(events(10_000), 1)
        await writer.close()
        assert ids(data) == sorted([*stored, "event-10000"])
