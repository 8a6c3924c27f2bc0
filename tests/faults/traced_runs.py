"""The workloads of tests/faults/errors.py: run by the code of the service, in a forked
process, and traced by strace from outside.

`ingest`: commits and seals of the writer's thread, and only of that thread. `start`:
recovery of an orphan and the first segment. `pass`: recovery, fold, commit and sweep of
the compactor, with all its threads. Each prepares itself, says which thread is to be
traced, and waits until it is: what an interpreter does to start is no part of it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from compactor import process
from compactor.process import Compactor, compact_once
from ingest.wal.active_segment import ActiveSegment
from ingest.wal.commit_queue import CommitQueue
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.segments.recovery import next_sequence
from shared.settings import Settings
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S
from tests.faults.oracle import Ledger
from tests.faults.small_server import GAVE_UP, WRITER, lines_for, send, settings_for

REQUESTS = 9
SEGMENT_BYTES = 1_000
FORK = multiprocessing.get_context("fork")


def ingest(root: Path, ledgers: Path, gate: Connection) -> None:
    """One request after the other, each sent up to three times; a segment is sealed
    after every few.
    """
    asyncio.run(_ingest(root, ledgers, gate))


async def _ingest(root: Path, ledgers: Path, gate: Connection) -> None:
    fatal = threading.Event()
    settings = Settings(data_dir=root, segment_max_bytes=SEGMENT_BYTES, disk_reserve=0)
    writer = CommitQueue(DataDirectory(root), WRITER, settings, SilentLog(), on_fatal=fatal.set)
    ledger = Ledger(ledgers, "ingest")
    _wait_for_tracer(gate, writer._thread.native_id or 0)
    for number in range(REQUESTS):
        for _ in range(3):
            if (
                await send(writer, ledger, [f"request-{number:03d}-{part}" for part in range(1 + number % 2)])
                or fatal.is_set()
            ):
                break
    await writer.close()
    os._exit(GAVE_UP if fatal.is_set() else 0)


def start(root: Path, _ledgers: Path, gate: Connection) -> None:
    """A worker starts where another was killed."""
    _wait_for_tracer(gate, os.getpid())
    asyncio.run(_start(root))


async def _start(root: Path) -> None:
    try:
        writer = CommitQueue(DataDirectory(root), WRITER, settings_for(root), SilentLog())
        await writer.close()
    except OSError:
        os._exit(GAVE_UP)  # as a worker: the supervisor starts it again
    os._exit(0)


def fold(root: Path, _ledgers: Path, gate: Connection) -> None:
    """Two passes of the scheduled kind: the second must not be worse off for what the
    first met.
    """
    vars(process)["SEAL_BEFORE_PASS_TIMEOUT_S"] = 0.05
    _wait_for_tracer(gate, os.getpid())
    compactor = Compactor(DataDirectory(root), settings_for(root), SilentLog())
    compactor.run()
    compactor.run()
    os._exit(0 if compactor.is_idle() else 1)


def _wait_for_tracer(gate: Connection, thread: int) -> None:
    gate.send(thread)
    gate.recv()


WORKLOADS: dict[str, Callable[[Path, Path, Connection], None]] = {"ingest": ingest, "start": start, "pass": fold}


def prepare(root: Path, ledgers: Path) -> None:
    """What a workload finds: a generation, sealed segments that are not folded, an
    orphan with a torn line.
    """
    data = DataDirectory(root)
    make_data_directory(data)
    ledger = Ledger(ledgers, "before")
    for number in range(4):
        segment_of(data, ledger, f"before-{number}").seal()
        if number == 1:
            compact_once(data, settings_for(root), SilentLog())
    (newest,) = sorted(data.log.glob("*-0000000004.sha256"))
    newest.unlink()  # a suspect segment: it is folded line by line
    orphan = segment_of(data, ledger, "orphan")
    os.write(orphan._descriptor, b'{"v":1,"id":"torn')
    orphan.close()
    ledger.close()


def segment_of(data: DataDirectory, ledger: Ledger, name: str) -> ActiveSegment:
    """An open segment with five acknowledged events."""
    ids = [f"{name}-{number:03d}" for number in range(5)]
    segment = ActiveSegment(data, WRITER, next_sequence(data, WRITER), "fsync")
    ledger.intend(ids)
    segment.commit(lines_for(ids), len(ids))
    ledger.acknowledge(ids)
    return segment


@contextmanager
def strace(thread: int, record: Path, options: list[str], *, follow: bool) -> Iterator[None]:
    command = ["strace", *(["-f"] if follow else []), "-y", "-s", "8", "-o", str(record), "-p", str(thread), *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        said = tracer.stderr.readline() if tracer.stderr else ""
        if "attached" not in said:
            raise AssertionError(f"strace cannot attach: {said}")
        yield
        tracer.wait(TIMEOUT_S)
    finally:
        tracer.kill()
        tracer.wait()
        if tracer.stderr:
            tracer.stderr.close()


def traced(workload: str, root: Path, ledgers: Path, record: Path, options: list[str]) -> int | None:
    """Run a workload under strace. Returns its exit code, None when it hung."""
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=WORKLOADS[workload], args=(root, ledgers, theirs), daemon=True)
    with quiet():
        child.start()
    try:
        if not ours.poll(TIMEOUT_S):
            return None
        with strace(ours.recv(), record, options, follow=workload == "pass"):
            ours.send("go")
            child.join(TIMEOUT_S)
            if child.exitcode is None:
                child.kill()
                child.join()
                return None
        return child.exitcode
    finally:
        if child.exitcode is None:
            child.kill()
            child.join()


@contextmanager
def quiet() -> Iterator[None]:
    """Children write what they die of to nowhere: dying is their task, and the exit
    code says the rest.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_CALL = re.compile(r"(?:(\d+)\s+)?(\w+)\(")


def numbers_of_calls(record: Path, root: Path) -> dict[str, set[int]]:
    """For each call, which of a thread's were about the data directory: strace counts
    for each thread by itself.
    """
    counts: dict[tuple[str, str], int] = {}
    found: dict[str, set[int]] = {}
    for line in record.read_text("utf-8", "replace").splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        key = (call[1] or "", call[2])
        counts[key] = counts.get(key, 0) + 1
        if str(root) in line:
            found.setdefault(call[2], set()).add(counts[key])
    return found
