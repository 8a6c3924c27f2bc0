"""P3: a segment is open exactly while a process holds the lock on its descriptor.

A stopped process is alive: its locks keep every other process away.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compactor.lock import CompactorBusy
from compactor.process import compact_once
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.recovery import WriterAlive, recover
from shared.segments.sealed import sealed_segments
from tests.builders.logs import line, sealed
from tests.builders.server import Server, run_foldlog
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import until
from tests.faults.oracle import acknowledged
from tests.faults.small_server import assert_no_violations, settings_for, settle


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
    are alive, and no other process does their work.
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
    assert_no_violations(data.root, ledgers, folded=True)


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


def test_second_serve_says_who_holds_the_directory_and_exits_75(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        second = run_foldlog(["serve"], server.environ | {"FOLDLOG_LISTEN": "127.0.0.1:1"})
        assert second.returncode == 75
        assert f"process {server.running.pid}" in second.stderr
