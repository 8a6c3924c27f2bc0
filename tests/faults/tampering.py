"""Somebody renames, deletes or truncates an active segment behind its writer's back,
and knows exactly what was in it.

The writer must notice before it acknowledges anything more (docs/formats.md). What it
had acknowledged into a renamed or deleted file it recovers; truncated bytes are lost.
Each of these returns the ids that cannot be kept: of a truncated file, and of one
whose writer was dead when it was deleted. Whatever else was acknowledged must not be
missing.
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

from tests.builders.server import Server
from tests.faults.oracle import id_of
from tests.faults.random_kills import children, wait_until

LET_GO_TIMEOUT_S = 60.0


def rename(server: Server, pick: random.Random) -> tuple[set[str], int]:
    """As logrotate does it, while the writer continues; and deleted at once. Also
    returns how many lines were written after that.

    The group under way may still go into the file under its new name: nothing shows the
    writer in time. No other may.
    """
    path = _active(server, pick)
    moved = path.with_name(f"{path.name}.1")
    try:
        path.rename(moved)
    except FileNotFoundError:
        return set(), 0  # it is being sealed
    with moved.open("rb") as file:
        before = _ids(file.read())
        moved.unlink()
        if _is_free(file.fileno()):
            return before, 0
        _wait_until_let_go(file.fileno())
        file.seek(0)
        return set(), len(_ids(file.read()) - before)


def delete(server: Server, pick: random.Random) -> set[str]:
    path = _active(server, pick)
    with suppress(FileNotFoundError), path.open("rb") as file:
        with _standing_still(server, path) as stands:
            if not stands:
                return set()
            path.unlink()
            if _is_free(file.fileno()):  # the writer died before, or had sealed it already
                return _ids(file.read())
        _wait_until_let_go(file.fileno())
    return set()


def truncate(server: Server, pick: random.Random) -> set[str]:
    """At any byte. What is before it stays, and is recovered."""
    path = _active(server, pick)
    with _standing_still(server, path) as stands, suppress(FileNotFoundError):
        if stands:
            content = path.read_bytes()
            keep = pick.randrange(len(content) + 1)
            os.truncate(path, keep)
            return _ids(content) - _ids(content[:keep])
    return set()


def _active(server: Server, pick: random.Random) -> Path:
    return server.data.active(str(pick.randrange(int(server.environ["FOLDLOG_WORKERS"]))))


@contextmanager
def _standing_still(server: Server, active: Path) -> Iterator[bool]:
    """SIGSTOP to the writer of a segment meanwhile, so that what is read of it is all
    that it holds. False without a writer.
    """
    writer = active.stem.removeprefix("active-")
    pid = children(server).get(f"ingest-{writer}")
    if pid is None:
        yield False
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _is_stopped(pid), LET_GO_TIMEOUT_S)
        yield True
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


def _is_free(descriptor: int) -> bool:
    """Whether the lock is free: then there is no writer that could recover what is
    in the file.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_until_let_go(descriptor: int) -> None:
    """Wait for the lock that the writer holds on a segment, which is free when it will
    write no more (P3).
    """
    deadline = time.monotonic() + LET_GO_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("the writer did not close a displaced segment") from None
            time.sleep(0.02)


def _ids(content: bytes) -> set[str]:
    """Those of the whole lines."""
    return {id_ for id_ in map(id_of, content.splitlines(keepends=True)) if id_ is not None}
