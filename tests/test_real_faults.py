"""Disks that are full, break or stand still, errors at any call, clocks that jump, stopped processes (P1, P9)."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from compactor.commit import CompactorBusy, compactor_lock
from faults import races
from ingest.writer import GroupCommitWriter, Unavailable
from shared.requests import Watch, request
from shared.settings import Settings
from tests.logs import SilentLog, data_directory, line


def writer_of(root: Path, **settings: object) -> GroupCommitWriter:
    given = Settings(data_dir=root, **settings)  # type: ignore[arg-type]
    return GroupCommitWriter(data_directory(root), "0", given, SilentLog())


async def test_group_that_is_handed_to_a_dying_writer_is_refused(tmp_path: Path) -> None:
    """The thread has answered one group and fails while the next is on its way: nobody may wait for ever."""
    writer = writer_of(tmp_path)
    fails = threading.Event()

    def defect() -> bool:
        if writer._active is None or not writer._active.lines:
            return False
        fails.wait(20)
        raise RuntimeError("a defect")

    writer._seal_is_due = defect  # type: ignore[method-assign]
    await writer.append([line("event-0001")], 300)
    second = writer.append([line("event-0002")], 300)
    await asyncio.sleep(0)
    fails.set()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(second, 20)
    assert writer.waiting == (0, 0)
    await writer.close()


def test_request_that_cannot_be_looked_at_is_seen_later(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    place.mkdir()
    watch = Watch(place / "seal.request")
    request(place / "seal.request")
    place.rename(elsewhere)
    place.write_bytes(b"no directory: looking into it is an error of its own")
    assert not watch.requested()
    place.unlink()
    elsewhere.rename(place)
    assert (watch.requested(), watch.requested()) == (True, False)


def test_deleted_lock_file_lets_no_second_compactor_in(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    with compactor_lock(data):
        data.compact_lock.unlink()
        with pytest.raises(CompactorBusy, match=r"compact\.lock was deleted"), compactor_lock(data):
            pass
    with compactor_lock(data):
        pass


@pytest.mark.crash
def test_two_compactors_commit_each_generation_once_though_the_lock_is_deleted() -> None:
    outcome = races.run(4, seed=6)
    assert outcome.runs == 4 and outcome.acknowledged == 4 * 25
    assert outcome.failures == []
