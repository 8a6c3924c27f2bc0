"""Processes that stand still, disks that are slow, descriptors and clocks that run out:
nobody is taken for dead who is not.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compactor.generations.commit import CompactorBusy
from compactor.process import compact_once
from ingest.wal.unavailable import Busy, Unavailable
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.recovery import WriterAlive, recover
from shared.segments.sealed import sealed_segments
from tests.builders.logs import data_directory, line, sealed
from tests.builders.server import environment, run_foldlog
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S, until
from tests.faults.file_systems import CannotMount, mounted, run
from tests.faults.oracle import Ledger, acknowledged
from tests.faults.small_server import lines_for, nothing_is_wrong, send, settings_for, settle, writer_of
from tests.faults.traced_runs import strace


@contextmanager
def small_server(root: Path, ledgers: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a writer, clients and a compactor, which can be stopped like any
    other.
    """
    ledgers.mkdir()
    command = [sys.executable, "-m", "tests.faults.small_server", str(root), str(ledgers), "server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


@pytest.mark.crash
def test_stopped_process_keeps_its_locks_and_goes_on(tmp_path: Path) -> None:
    """SIGSTOP of a worker and of a compactor in the middle of whatever they do: they
    are alive, and nobody does their work.
    """
    data, ledgers = DataDirectory(tmp_path / "data"), tmp_path / "ledgers"
    with small_server(data.root, ledgers) as process:
        until(lambda: load_snapshot(data).generation >= 1)
        for _ in range(5):
            stop_during_a_pass(process, data)
            generation = load_snapshot(data).generation
            with pytest.raises(WriterAlive):
                recover(data, "0")
            with pytest.raises(CompactorBusy):
                compact_once(data, settings_for(data.root), SilentLog())
            sealed(data, [line(f"by-another-{generation:05d}")], writer="other")  # another worker is not concerned
            assert load_snapshot(data).generation == generation
            process.send_signal(signal.SIGCONT)
            until(lambda g=generation: load_snapshot(data).generation > g)  # type: ignore[misc]
        count = len(acknowledged(ledgers))
        until(lambda: len(acknowledged(ledgers)) > count)
    asyncio.run(settle(data.root))
    (ledgers / "other.intended").write_text("".join(f"{id_}\n" for id_ in of_another(data)))
    nothing_is_wrong(data.root, ledgers, folded=True)


def stop_during_a_pass(process: subprocess.Popen[bytes], data: DataDirectory) -> None:
    """The working files of a pass are there exactly while it runs.

    With lines in the open segment: between two segments, while one is sealed, there is
    none whose lock could be held.
    """
    for _ in range(1_000):
        until(data.spill.is_dir)
        process.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(process.pid))
        if data.spill.is_dir() and has_lines(data.active("0")):
            return
        process.send_signal(signal.SIGCONT)
    raise AssertionError("no pass could be stopped")


def is_stopped(pid: int) -> bool:
    """Every thread of it: one that is in a system call ends that first."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    try:
        return all((thread / "stat").read_text("ascii").rpartition(")")[2].split()[0] == "T" for thread in threads)
    except (FileNotFoundError, ProcessLookupError):
        return False  # one ended meanwhile


def has_lines(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def of_another(data: DataDirectory) -> list[str]:
    found = [segment.path.read_text("utf-8") for segment in sealed_segments(data) if segment.name.writer == "other"]
    return [text.partition('"id":"')[2].partition('"')[0] for text in found]


@pytest.mark.component
async def test_slow_disk_answers_late_and_refuses_what_may_not_wait(tmp_path: Path) -> None:
    """Each fdatasync takes a second longer: what waits is bounded, and nobody is told
    too early.
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
    nothing_is_wrong(tmp_path / "data", tmp_path / "ledgers")


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
