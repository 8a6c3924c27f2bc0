"""Memory and CPU of the server's processes while it is loaded, from /proc."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

SAMPLE_S = 1.0

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Use(msgspec.Struct):
    """Samples of one process: seconds since the start, resident MiB, CPU seconds."""

    name: str
    pid: int
    at_s: list[float] = []
    rss_mib: list[float] = []
    cpu_s: list[float] = []

    @property
    def cpu_used_s(self) -> float:
        return self.cpu_s[-1] - self.cpu_s[0]


@contextmanager
def sampling(root: int | None) -> Iterator[dict[int, Use]]:
    """Sample a process and its descendants once a second while the block runs."""
    uses: dict[int, Use] = {}
    if root is None:
        yield uses
        return
    ended = threading.Event()
    started = time.monotonic()

    def sample() -> None:
        while True:
            for pid in family(root):
                _add_sample(uses, pid, time.monotonic() - started)
            if ended.wait(SAMPLE_S):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield uses
    finally:
        ended.set()
        thread.join()
        for pid in family(root):
            _add_sample(uses, pid, time.monotonic() - started)


def _add_sample(uses: dict[int, Use], pid: int, at_s: float) -> None:
    try:
        name, _, cpu_s = _stat(pid)
        rss = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_MIB
        if pid not in uses:
            uses[pid] = Use(_name(pid) or name, pid, [], [], [])
    except (OSError, ValueError, IndexError):
        return  # it has exited
    use = uses[pid]
    use.at_s.append(round(at_s, 2))
    use.rss_mib.append(round(rss, 1))
    use.cpu_s.append(cpu_s)


def family(root: int) -> list[int]:
    """A process and its descendants; empty when it has exited."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                parents[int(entry)] = _stat(int(entry))[1]
            except (OSError, ValueError):
                continue
    found = [root] if root in parents else []
    for parent in found:
        found += [pid for pid, its_parent in parents.items() if its_parent == parent]
    return found


def _stat(pid: int) -> tuple[str, int, float]:
    """Name, parent and CPU seconds of a process. Raises OSError when it has exited."""
    name, _, rest = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")
    fields = rest.split()
    return name.partition("(")[2], int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS


def _name(pid: int) -> str:
    """The role of a process of Foldlog: `serve`, `ingest 0`, `compact`, `reader`."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    for role in ("serve", "ingest", "compact"):
        if role in words:
            return f"{role} {words[words.index('--writer') + 1]}" if "--writer" in words else role
    return "reader" if any(word.startswith("reports.reader.") for word in words) else ""
