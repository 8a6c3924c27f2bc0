"""Somebody renames, deletes or truncates an active segment behind its writer's back, and knows exactly what was in it.

The writer must notice before it acknowledges anything more (docs/formats.md). What it had acknowledged before goes with the
file: each of these returns the ids that were in what was taken away, read when the writer has let go of the file.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.oracle import id_of
from faults.random_kills import children, wait_until
from tests.server import Server

LET_GO_TIMEOUT_S = 60.0


def rename(server: Server, pick: random.Random) -> set[str]:
    """As logrotate does it, while the writer goes on."""
    path = _active(server, pick)
    moved = path.with_name(f"{path.name}.1")
    try:
        path.rename(moved)
    except FileNotFoundError:
        return set()  # it is being sealed
    with moved.open("rb") as file:
        moved.unlink()
        return _ids_when_let_go(file.fileno())


def delete(server: Server, pick: random.Random) -> set[str]:
    path = _active(server, pick)
    with _standing_still(server, path):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return set()
        path.unlink()
    try:
        return _ids_when_let_go(descriptor)
    finally:
        os.close(descriptor)


def truncate(server: Server, pick: random.Random) -> set[str]:
    """At any byte. What is before it stays, and is recovered."""
    path = _active(server, pick)
    with _standing_still(server, path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return set()
        keep = pick.randrange(len(content) + 1)
        os.truncate(path, keep)
    return _ids(content) - _ids(content[:keep])


def _active(server: Server, pick: random.Random) -> Path:
    return server.data.active(str(pick.randrange(int(server.environ["FOLDLOG_WORKERS"]))))


@contextmanager
def _standing_still(server: Server, active: Path) -> Iterator[None]:
    """SIGSTOP to the writer of a segment meanwhile, so that what is read of it is all that it holds."""
    writer = active.stem.removeprefix("active-")
    pid = children(server).get(f"ingest-{writer}")
    if pid is None:
        yield
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _is_stopped(pid), LET_GO_TIMEOUT_S)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    """Every thread of it, or it is gone."""
    try:
        tasks = [task / "stat" for task in Path(f"/proc/{pid}/task").iterdir()]
        return all(task.read_text("utf-8").rpartition(")")[2].split()[0] in "TZ" for task in tasks)
    except FileNotFoundError:
        return True


def _ids_when_let_go(descriptor: int) -> set[str]:
    """Wait for the lock that the writer holds on a segment, which is free when it will write no more (P3). Then read it."""
    deadline = time.monotonic() + LET_GO_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("the writer did not let go of a segment that was taken away") from None
            time.sleep(0.02)
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        return _ids(file.read())


def _ids(content: bytes) -> set[str]:
    """Those of the whole lines."""
    return {id_ for id_ in map(id_of, content.splitlines(keepends=True)) if id_ is not None}
