"""The life of a data directory under a recorder: the real writer and the real compactor
in this process, without HTTP.

What happens is called by name (post, retry, rotate, fold …), by a programme or by a
state machine. A crash ends one life; the next one begins with what a crash could have
left (tests/faults/crash.py), in another directory.
"""

from __future__ import annotations

import asyncio
import errno
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compactor.lock import compactor_lock
from compactor.run_pass import run_pass
from ingest.collect.encode import Line, encode_lines
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.unavailable import Unavailable
from shared.disk.control_files import touch
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.segments.line import SCHEMA_VERSION
from shared.settings import Settings
from shared.timestamps import rfc3339
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S
from tests.faults.crash import Disk, How, make_tree
from tests.faults.record import Mark, Recorder, Tree

SEGMENT_MAX_BYTES = 1500


class Life:
    """One data directory, one writer, and what was acknowledged to its clients."""

    def __init__(
        self,
        root: Path,
        tree: Tree | None = None,
        *,
        lies: bool = False,
        times: dict[str, int] | None = None,
        **settings: Any,
    ) -> None:
        """In `root`, which must not be there, with `tree` in it. `lies`: the disk says
        that it synced, and did not.

        `times` is when each id was sent first, in this life or another: what is sent
        again has its old time.
        """
        self.data = DataDirectory(root)
        if tree is not None:
            make_tree(root, tree)
        make_data_directory(self.data)
        self.settings = Settings(data_dir=root, segment_max_bytes=SEGMENT_MAX_BYTES, fold_memory=256 << 20, **settings)
        self.log = SilentLog()
        self.intended: set[str] = set()
        self.acknowledged: set[str] = set()
        self.ended = False
        self.times: dict[str, int] = {} if times is None else times
        self.room: int | None = None  # how many more functions of `os` may store something before the disk is full
        self.recorder = Recorder(root, lies=lies, before=self._before)
        self._runner = asyncio.Runner()
        self.recorder.__enter__()
        self.writer = self._runner.run(self._start())

    async def _start(self) -> CommitQueue:
        return CommitQueue(self.data, "0", self.settings, self.log)

    def _before(self, name: str) -> None:
        # A full disk, without a file system of that size: writes fail, and so do the
        # syncs that find room for them.
        if self.room is None or name not in {"write", "fsync", "open", "mkdir"}:
            return
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= 1

    def post(self, batches: Sequence[Sequence[str]], now_ms: int) -> int:
        """Send batches of ids at the same moment, each as a request. Returns how many
        ids were acknowledged.
        """
        if not self.writer._thread.is_alive():  # a worker that has ended is started again by its supervisor
            self.restart()
        return self._runner.run(self._post(batches, now_ms))

    async def _post(self, batches: Sequence[Sequence[str]], now_ms: int) -> int:
        waiting = []
        for ids in batches:
            self.recorder.mark("intended", *ids)
            self.intended.update(ids)
            lines = [_line(id_, self.times.setdefault(id_, now_ms), now_ms) for id_ in ids]
            try:
                waiting.append((ids, self.writer.append(encode_lines(lines), len(lines))))
            except Unavailable:  # refused at once: it ended for good after a failed sync
                break
        stored = 0
        for ids, done in waiting:
            try:
                await done
            except Unavailable:
                continue
            self.recorder.mark("acknowledged", *ids)
            self.acknowledged.update(ids)
            stored += len(ids)
        self._until_quiet()
        return stored

    def _until_quiet(self) -> None:
        """Wait for a seal under way, so that the same seed gives the same record."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.room is None and time.monotonic() < deadline:
            active = self.writer.segment_writer.active
            if active is not None and active.bytes < SEGMENT_MAX_BYTES:
                return
            time.sleep(0.001)

    def rotate(self, now_ms: int, id_: str) -> None:
        """Ask for a seal, as an operator does; the writer looks when the next event
        comes.
        """
        touch(self.data.seal_request)
        self.post([[id_]], now_ms)

    def restart(self) -> None:
        """Stop the writer in order, and start another."""
        self._runner.run(self.writer.close())
        try:
            self.writer = self._runner.run(self._start())
        except OSError:
            if self.room is None:
                raise
            self.room = None  # a service that finds no room at its start is started again until there is some
            self.writer = self._runner.run(self._start())

    def fold(self, now_ms: int, max_bytes: int = 1 << 20) -> bool:
        """One pass. Returns whether it could be done: a full disk may keep it from
        that.
        """
        try:
            with compactor_lock(self.data) as lock:
                done = run_pass(self.data, self.settings, self.log, lock, now_ms, max_bytes)
        except OSError:
            if self.room is None:
                raise
            return False
        self.recorder.mark("generation", done.snapshot.generation)
        return True

    def end(self) -> None:
        """Stop recording, and the writer. The directory is of no use any longer; nor is
        this, when called again.
        """
        if self.ended:
            return
        self.ended = True
        self.room = None
        self.recorder.__exit__(None, None, None)
        self._runner.run(self.writer.close())
        self._runner.close()

    def crash(self, how: How, draw: random.Random, upto: int | None = None) -> Tree:
        """What a crash could have left after the first `upto` operations, or now."""
        disk = Disk(self.recorder.began_with)
        for operation in self.recorder.operations[:upto]:
            disk.follow(operation)
        return disk.crash(how, draw)


def acknowledged_by(marks: Sequence[Mark]) -> tuple[set[str], set[str], int]:
    """What had been intended, what acknowledged, and the newest generation, by these
    marks.
    """
    intended = {id_ for mark in marks if mark.what == "intended" for id_ in mark.values}
    acknowledged = {id_ for mark in marks if mark.what == "acknowledged" for id_ in mark.values}
    return intended, acknowledged, max((mark.values[0] for mark in marks if mark.what == "generation"), default=0)


def _line(id_: str, time_ms: int, received_ms: int) -> Line:
    return Line(
        v=SCHEMA_VERSION,
        id=id_,
        name="pageview",
        time=rfc3339(time_ms),
        received=rfc3339(received_ms),
        site="example.com",
        visitor=f"visitor-{id_[-1]}",
        url="https://example.com/a",
        consent="granted",
    )
