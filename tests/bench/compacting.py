"""A compactor as a process of its own, whose passes are asked for one by one and
measured one by one, with what it publishes read as docs/formats.md describes it.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from shared.disk.layout import DataDirectory
from shared.timestamps import DAY_S, now_ms, rfc3339
from tests.bench.checkout import Checkout, end

POLL_S = 0.005
NEVER = math.inf


class Compacting(NamedTuple):
    """A running `foldlog compact`, whose passes are asked for one by one."""

    pid: int
    data: DataDirectory

    def cpu_seconds(self) -> float:
        """Of the process and its threads, in nanoseconds where /proc has ticks."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def fold(self, lines: int, within_s: float = 600.0) -> float:
        """CPU seconds of a pass after which the snapshot has so many lines in all;
        NEVER if it has not within the time.
        """
        before = self.cpu_seconds()
        self._ask()
        deadline = time.monotonic() + within_s
        while totals(self.data).get("lines", 0) < lines:
            if time.monotonic() > deadline:
                return NEVER
            time.sleep(POLL_S)
        return self.settled() - before

    def idle(self, within_s: float = 60.0) -> float:
        """CPU seconds of a pass that finds nothing, or merges a day. Raises
        AssertionError.
        """
        before = self.cpu_seconds()
        self._wait_for_pass(within_s, self._ask)
        return self.settled() - before

    def scheduled(self, passes: int, within_s: float = 60.0) -> float:
        """CPU seconds of so many passes that nobody asks for, with the time between
        them. Raises AssertionError.
        """
        before = self.cpu_seconds()
        for _ in range(passes):
            self._wait_for_pass(within_s, lambda: None)
        return self.cpu_seconds() - before

    def _wait_for_pass(self, within_s: float, begin: Callable[[], None]) -> None:
        """Until one has published a snapshot, or left the mark of a pass."""
        marks = (self.data.snapshot, self.data.root / "run" / "last-pass")
        seen = _stamps(*marks)
        begin()
        deadline = time.monotonic() + within_s
        while _stamps(*marks) == seen:
            if time.monotonic() > deadline:
                raise AssertionError("no pass ended")
            time.sleep(POLL_S)

    def settled(self) -> float:
        """CPU seconds once the process does nothing any more."""
        used = self.cpu_seconds()
        while True:
            time.sleep(0.02)
            later = self.cpu_seconds()
            if later - used < 0.002:
                return later
            used = later

    def _ask(self) -> None:
        request = self.data.root / "fold.request"
        beside = request.with_suffix(".asked")
        beside.touch()
        beside.replace(request)

    def written_bytes(self) -> int:
        """What the process has given to write(), to whatever file."""
        return self._io("wchar")

    def block_bytes(self) -> int:
        """The blocks that it changed, with those of the file system itself: a new
        modification time is one, each time that the file system writes.
        """
        return self._io("write_bytes")

    def _io(self, name: str) -> int:
        text = Path(f"/proc/{self.pid}/io").read_text("ascii")
        return int(text.partition(f"\n{name}:")[2].split()[0])


@contextmanager
def compacting(checkout: Checkout, data: DataDirectory, *, begin: bool = True, **settings: str) -> Iterator[Compacting]:
    """Without another FOLDLOG_FOLD_INTERVAL nothing is folded that was not asked for.
    With `begin` it has made a first pass, in which it loads what it needs.
    """
    silent = subprocess.DEVNULL
    command, environ = checkout.command("compact"), checkout.environ(data.root, 8080, **settings)
    process = subprocess.Popen(command, cwd=data.root.parent, env=environ, stdout=silent, stderr=silent)
    try:
        found = Compacting(process.pid, data)
        time.sleep(0.5)
        found.settled()
        if begin:
            found.idle()
        yield found
    finally:
        end(process)


def snapshot(data: DataDirectory) -> dict[str, Any]:
    """Empty where there is none yet."""
    try:
        found: dict[str, Any] = json.loads(data.snapshot.read_bytes())
    except FileNotFoundError:
        return {}
    return found


def totals(data: DataDirectory) -> dict[str, int]:
    found: dict[str, int] = snapshot(data).get("totals", {})
    return found


def counter_bytes(data: DataDirectory) -> int:
    """Of all days: one part of each in old formats, several in new ones."""
    of_days = (day.get("counters") or [] for day in snapshot(data)["days"].values())
    parts = (part for found in of_days for part in (found if isinstance(found, list) else [found]))
    return sum(part["bytes"] for part in parts)


def make_older(data: DataDirectory, days: int = 2) -> None:
    """As if the last events had come so many days ago: the next pass merges."""
    then = rfc3339(now_ms() - days * DAY_S * 1000)
    text = re.sub(rb'"added_at": "[^"]*"', b'"added_at": "%b"' % then.encode(), data.snapshot.read_bytes())
    head = text[: text.rindex(b' "sha256":')]
    data.snapshot.write_bytes(head + b' "sha256": "%b"\n}\n' % sha256(head).hexdigest().encode())


def _stamps(*paths: Path) -> list[int]:
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]
