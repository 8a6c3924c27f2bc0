"""A server without HTTP, in one process: the real writer with clients that keep a
ledger, and the real compactor beside it.

It starts in half the time of `foldlog serve`, which is what makes hundreds of power
cuts and thousands of errors feasible. Everything that touches the data directory is the
code of the service: the writer's thread, recovery, the scheduled pass.

    python -m tests.faults.small_server DATA LEDGERS NAME

prints `up` when the log is open, then sends events and folds until it is killed or its
writer gives up.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from pathlib import Path

from compactor.process import Compactor, compact_once
from ingest.collect.encode import Line, encode_lines
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import Unavailable
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.segments.line import SCHEMA_VERSION
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339
from tests.builders.logs import data_directory
from tests.builders.silent_log import SilentLog
from tests.faults.oracle import Ledger, acknowledged, find_violations, intended

WRITER = "0"
CLIENTS = 4
GAVE_UP = 75
AGAIN = 40


def settings_for(root: Path) -> Settings:
    """Small segments and a fold at every opportunity, so that any moment may be in the
    middle of anything.
    """
    return Settings(data_dir=root, segment_max_bytes=16 << 10, segment_max_age=0.5, fold_interval=1, disk_reserve=0)


def lines_for(ids: list[str]) -> bytes:
    """A log line for each id, as of now."""
    time_ = rfc3339(now_ms())
    made = [
        Line(
            v=SCHEMA_VERSION,
            received=time_,
            site="example.com",
            consent="granted",
            id=id_,
            name="pageview",
            time=time_,
            visitor="visitor-1",
        )
        for id_ in ids
    ]
    return encode_lines(made)


async def send(writer: CommitQueue, ledger: Ledger, ids: list[str]) -> bool:
    """What a client and POST /v1/events do together. Returns whether it was
    acknowledged.
    """
    ledger.intend(ids)
    try:
        await writer.append(lines_for(ids), len(ids))
    except Unavailable:
        return False
    ledger.acknowledge(ids)
    return True


async def client(writer: CommitQueue, ledger: Ledger, name: str, again: list[str], stop: threading.Event) -> None:
    """Send what was sent before without an answer (and some that had one) once more,
    then new events until asked to stop.
    """
    for start in range(0, len(again), 3):
        await send(writer, ledger, again[start : start + 3])
    number = 0
    while not stop.is_set():
        number += 1
        if not await send(writer, ledger, [f"{name}-{number:06d}-{part}" for part in range(1 + number % 3)]):
            await asyncio.sleep(0.02)


def sent_before(ledgers: Path) -> list[str]:
    """As many ids that were acknowledged as ids that were not: both must be
    harmless to send again.
    """
    answered = acknowledged(ledgers)
    unknown = sorted(intended(ledgers) - answered)
    return unknown[-AGAIN:] + sorted(answered)[-AGAIN:]


async def serve(root: Path, ledgers: Path, name: str) -> int:
    """Take events and fold until killed. Returns when the writer has given up, as a
    worker then does.
    """
    data = DataDirectory(root)
    make_data_directory(data)
    settings = settings_for(root)
    again = sent_before(ledgers)
    stop = threading.Event()
    writer = CommitQueue(data, WRITER, settings, SilentLog(), on_fatal=stop.set)
    print("up", flush=True)
    folding = threading.Thread(target=fold_for_ever, args=(data, settings, stop), daemon=True)
    folding.start()
    pick = random.Random(name)
    pick.shuffle(again)
    names = [f"{name}-{number}" for number in range(CLIENTS)]
    books = [Ledger(ledgers, each) for each in names]
    await asyncio.gather(*(client(writer, book, each, again, stop) for book, each in zip(books, names, strict=True)))
    return GAVE_UP


def fold_for_ever(data: DataDirectory, settings: Settings, stop: threading.Event) -> None:
    """What the compactor process does, without its scheduler: one pass after the
    other.
    """
    compactor = Compactor(data, settings, SilentLog())
    compactor.begin()
    while not stop.is_set():
        compactor.run()
        time.sleep(0.05)


async def settle(root: Path) -> None:
    """The restart after a fault: recover, accept nothing, seal, fold
    everything.
    """
    data = DataDirectory(root)
    make_data_directory(data)
    settings = settings_for(root)
    writer = CommitQueue(data, WRITER, settings, SilentLog())
    await writer.close()
    Compactor(data, settings, SilentLog()).begin()
    compact_once(data, settings, SilentLog())


def main() -> int:
    root, ledgers, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if name == "settle":
        asyncio.run(settle(root))
        return 0
    return asyncio.run(serve(root, ledgers, name))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(
        code
    )  # at once, as a kill: a pass that still runs in its thread would otherwise end in the middle of DuckDB


def assert_no_violations(root: Path, ledgers: Path, *, folded: bool = False) -> None:
    answered = acknowledged(ledgers)
    assert answered
    violations = find_violations(root, intended(ledgers), answered, folded=folded)
    assert not violations, violations


def writer_of(root: Path, **settings: object) -> CommitQueue:
    given = Settings(data_dir=root, **settings)  # type: ignore[arg-type]
    return CommitQueue(data_directory(root), "0", given, SilentLog())
