"""Memory of one worker over 10,000,000 events in batches of 100 to 500, and CPU for
each durable event.

The events come with a key in loads of one batch size each, as fast as the worker
answers. After each load the resident memory of the worker is read. The warm-up is the
first load of each size; growth is the highest memory after that / the memory at its
end, less 1. Afterwards everything is folded, and each acknowledged event must be
counted once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from compactor.process import compact_once
from foldlog.load.plan import AGENT
from foldlog.load.run import generate, make_plan
from foldlog.load.target import BenchError, Target
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.bench.processes import cpu_seconds, worker
from tests.builders.silent_log import SilentLog

EVENTS = 10_000_000
LOADS = 40
SIZES = (100, 200, 300, 400, 500)
CONNECTIONS = 8
WANTED_GROWTH = 0.05
KEY = "ingest-key-of-the-benchmarks"


class Memory(NamedTuple):
    """MiB after the warm-up, at most after it, and the growth as a share; microseconds
    of CPU for an event, by batch size.
    """

    events: int
    warm_mib: float
    highest_mib: float
    growth: float
    cpu_us: dict[int, float]


def one_worker(root: Path, events: int = EVENTS, loads: int = LOADS) -> Memory:
    """Raises BenchError unless every event was stored and counted once."""
    data = root / "memory"
    resident: list[float] = []
    spent: dict[int, float] = dict.fromkeys(SIZES, 0.0)
    sent: dict[int, int] = dict.fromkeys(SIZES, 0)
    with worker(data, FOLDLOG_INGEST_KEYS=KEY) as (process, port):
        head = f"Host: bench.example\r\nUser-Agent: {AGENT}\r\nAuthorization: Bearer {KEY}\r\n"
        target = Target(host="127.0.0.1", port=port, headers=head)
        for number in range(loads):
            size = SIZES[number % len(SIZES)]
            before = cpu_seconds(process.pid)
            sent[size] += send(target, events // loads, size)
            spent[size] += cpu_seconds(process.pid) - before
            resident.append(resident_mib(process.pid))
    check_counted(data, sum(sent.values()))
    warm, highest = resident[len(SIZES) - 1], max(resident[len(SIZES) - 1 :])
    cpu_us = {size: seconds / sent[size] * 1e6 for size, seconds in spent.items()}
    return Memory(sum(sent.values()), warm, highest, highest / warm - 1, cpu_us)


def send(target: Target, events: int, size: int) -> int:
    """About as many events, all due at once. Returns how many were acknowledged. Raises
    BenchError unless all were stored.
    """
    plan = make_plan(
        target, [events / size * 100], 0.01, events=size, connections=CONNECTIONS, users=100_000, answer_s=300.0
    )
    outcome = generate(plan)
    if set(outcome.statuses) != {"200"} or outcome.acknowledged != outcome.requests * size:
        raise BenchError(f"not everything was stored: {outcome.statuses}, {outcome.codes}")
    return outcome.acknowledged


def check_counted(root: Path, acknowledged: int) -> None:
    """Fold, and compare. Raises BenchError."""
    compact_once(DataDirectory(root), Settings(data_dir=root), SilentLog())
    counted = load_snapshot(DataDirectory(root)).totals.counted
    if counted != acknowledged:
        raise BenchError(f"{acknowledged} events were acknowledged, {counted} are counted")


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        found = one_worker(Path(root), given.events)
    print(
        f"memory of one worker over {found.events:,} events: grew by {found.growth:.1%} (wanted: at most "
        f"{WANTED_GROWTH:.0%})"
    )
    print(f"  {found.warm_mib:.1f} MiB after the warm-up, {found.highest_mib:.1f} MiB at most after it")
    print(
        f"CPU for a durable event: "
        f"{', '.join(f'{us:.2f} µs in batches of {size}' for size, us in found.cpu_us.items())}"
    )
    if found.growth > WANTED_GROWTH:
        sys.exit("NOT AS WANTED")


if __name__ == "__main__":
    main()
