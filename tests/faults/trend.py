"""What a service costs over time: memory and descriptors of each of its processes, what
lies in its directory (I10).
"""

from __future__ import annotations

import http.client
import os
import statistics
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.builders.server import Server
from tests.faults.random_kills import COMPACTOR, children

EVERY_S = 1.0
SAMPLES_MIN = 40  # with fewer a quarter says nothing
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MB = 1 << 20
DESCRIPTORS_MORE = 64  # a process that has only just been started has few
FILES_MORE = 100
MEMORY_MORE = 64 * MB
LOG_MORE = 16 * MB

# By what was measured, in the order of time.
Samples = dict[str, list[int]]


class Trend:
    """Samples a server once a second while the block runs, and has it make a report
    each time, for the reader process.
    """

    def __init__(self, server: Server, every_s: float = EVERY_S) -> None:
        self.samples: Samples = {}
        self._server = server
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="trend", daemon=True)

    def __enter__(self) -> Trend:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            with suppress(
                AssertionError, OSError, http.client.HTTPException
            ):  # a server that is just being killed has no report and no process
                self._server.get("/admin/api/report", by="path")
            with suppress(AssertionError, OSError):
                self._look_at_processes()
            self._look_at_disk()

    def _look_at_processes(self) -> None:
        running = {"serve": self._server.running.pid, **children(self._server)}
        readers = {f"reader of {name}": pid for name, pid in running.items() if name.startswith("ingest")}
        pids = running | {name: child for name, pid in readers.items() for child in _children_of(pid)}
        for name, pid in pids.items():
            with suppress(OSError):
                self._add(
                    f"memory of {name}", int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE_BYTES
                )
                self._add(f"descriptors of {name}", len(os.listdir(f"/proc/{pid}/fd")))

    def _look_at_disk(self) -> None:
        data = self._server.data
        log = _sizes(data.log)
        self._add("bytes in log/", sum(log))
        self._add("files in log/", len(log))
        self._add("files elsewhere", len(_sizes(data.root)) - len(log))
        self._add("bytes in archive/ and counters/", sum(_sizes(data.archive)) + sum(_sizes(data.counters)))

    def _add(self, name: str, value: int) -> None:
        self.samples.setdefault(name, []).append(value)


def quarters(samples: Samples) -> dict[str, tuple[int, int, int]]:
    """By name: the medians of the first and of the last quarter, and the most."""
    return {
        name: (_median(values[: _quarter(values)]), _median(values[-_quarter(values) :]), max(values))
        for name, values in sorted(samples.items())
    }


def rows(samples: Samples) -> list[str]:
    """For people."""
    return [
        f"{name}: {_shown(name, each)} (first quarter, last quarter, most)" for name, each in quarters(samples).items()
    ]


def growth(samples: Samples, fold_memory: int) -> list[str]:
    """What grew by more than noise. The archive may: it holds what is counted. So may
    the compactor, up to its limit.
    """
    return [
        f"I10: {name} grew from {first:,} to {last:,}"
        for name, (first, last, _) in quarters(samples).items()
        if len(samples[name]) >= SAMPLES_MIN and last > _allowed(name, first, fold_memory)
    ]


def _allowed(name: str, first: int, fold_memory: int) -> float:
    if name == f"memory of {COMPACTOR}":
        return first + fold_memory
    if name.startswith("memory"):
        return 1.5 * first + MEMORY_MORE
    if name.startswith("descriptors"):
        return first + DESCRIPTORS_MORE
    if name.startswith("files"):
        return first + FILES_MORE
    if name == "bytes in log/":
        return 2 * first + LOG_MORE
    return float("inf")


def _shown(name: str, values: tuple[int, ...]) -> str:
    in_mb = name.startswith(("memory", "bytes"))
    return ", ".join(f"{value / MB:.1f} MiB" if in_mb else f"{value}" for value in values)


def _quarter(values: list[int]) -> int:
    return max(1, len(values) // 4)


def _median(values: list[int]) -> int:
    return int(statistics.median(values))


def _children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _sizes(directory: Path) -> list[int]:
    """Of the files below a directory, of which some may just be going."""
    sizes = []
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                sizes.append(os.lstat(os.path.join(folder, name)).st_size)
    return sizes
