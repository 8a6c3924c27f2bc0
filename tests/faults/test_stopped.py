"""Processes that stand still, disks that are slow, descriptors and clocks that run out:
no living process is taken for a dead one.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import time
from pathlib import Path

import pytest

from ingest.wal.unavailable import Busy, Unavailable
from tests.builders.logs import data_directory
from tests.builders.server import environment, run_foldlog
from tests.builders.waiting import TIMEOUT_S
from tests.faults.file_systems import CannotMount, mounted, run
from tests.faults.oracle import Ledger
from tests.faults.small_server import assert_no_violations, lines_for, send, writer_of
from tests.faults.traced_runs import strace


@pytest.mark.component
async def test_slow_disk_answers_late_and_refuses_what_may_not_wait(tmp_path: Path) -> None:
    """Each fdatasync takes a second longer: the queue is bounded, and no client is
    answered too early.
    """
    if shutil.which("strace") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("strace is not installed")
    writer = writer_of(tmp_path, queue_max_requests=5)
    thread = writer._thread.native_id
    assert thread is not None
    slow = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=1000000"]
    with strace(thread, tmp_path / "record", slow, follow=False):
        started = time.monotonic()
        waiting = [writer.append(lines_for([f"event-{number:04d}"]), 200) for number in range(5)]
        with pytest.raises(Busy):
            writer.append(lines_for(["event-0005"]), 200)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert time.monotonic() - started >= 1
        await asyncio.gather(*waiting)
        await asyncio.wait_for(writer.append(lines_for(["event-0006"]), 200), TIMEOUT_S)
        await writer.close()


async def test_descriptors_that_run_out_stop_no_commit(tmp_path: Path) -> None:
    """EMFILE: what is open is written to; what must be opened is refused, and taken
    again when there are some.
    """
    writer = writer_of(tmp_path / "data")
    (tmp_path / "ledgers").mkdir()
    ledger = Ledger(tmp_path / "ledgers", "client")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        for number in range(5):
            assert await send(writer, ledger, [f"event-{number:04d}"])
        writer.segment_writer.seals.due_at = 0  # its age is up: its checksum and the next segment need a descriptor
        await asyncio.sleep(0.5)
        ledger.intend(["event-0005"])
        with pytest.raises(Unavailable):
            await writer.append(lines_for(["event-0005"]), 200)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert await send(writer, ledger, ["event-0006"])
    await writer.close()
    ledger.close()
    assert_no_violations(tmp_path / "data", tmp_path / "ledgers")


@pytest.mark.component
@pytest.mark.parametrize("command", [["serve"], ["ingest", "--writer", "0"]], ids=lambda words: words[0])
def test_read_only_data_directory_is_said_at_the_start(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "data").mkdir()
    try:
        with mounted(tmp_path / "read-only", "--bind", tmp_path / "data") as place:
            run("mount", "-o", "remount,bind,ro", place)
            done = run_foldlog(command, environment(place))
    except CannotMount as why:
        pytest.skip(str(why))
    assert done.returncode == 75
    assert done.stderr == f"foldlog: Read-only file system: {tmp_path}/read-only/log\n"


@pytest.mark.component
def test_directory_that_nobody_may_change_is_said_at_the_start(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    try:
        run("chattr", "+i", data.log)
    except (CannotMount, FileNotFoundError) as why:
        pytest.skip(f"chattr +i: {why}")
    try:
        done = run_foldlog(["ingest", "--writer", "0"], environment(data.root))
    finally:
        run("chattr", "-i", data.log)
    assert done.returncode == 75
    assert done.stderr == f"foldlog: Operation not permitted: {data.active('0')}\n"
