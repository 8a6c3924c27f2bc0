"""Taking events, against the floors and against what a team would otherwise write
(tests/bench/baselines). All of it is durable.

Whatever is compared runs at the same time and is loaded in turns, each round in the
other order. A figure is the median of the rounds; a ratio that of the rounds' ratios.
Afterwards everything that was acknowledged must be counted: Foldlog folds its log, the
baselines are asked for their sums.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import uvloop

from compactor.process import compact_once
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.bench.baselines import postgres, sqlite, summary_file
from tests.bench.baselines.disk import write_seconds
from tests.bench.figures import Figure
from tests.bench.load import make_requests
from tests.bench.load import run as run_load
from tests.bench.processes import CLOCK_TICKS, cpu_seconds, free_port, load, null_handler, running, worker
from tests.builders import postgres_kinds
from tests.builders.postgres import running as running_postgres
from tests.builders.silent_log import SilentLog

# A page's visitors come on connections of their own: with more of them under way, more
# events share a sync.
SINGLE_CONNECTIONS = (32, 256)
AGAINST_CONNECTIONS = 256
BATCH_EVENTS = 100
BATCH_CONNECTIONS = 8
# What CPython can reach, and why not more: docs/performance.md.
WANTED_SINGLE = 0.5
WANTED_BATCHES = 0.08
WANTED_BATCH_US = 12.0
# (what it is called, rows a counter, connections). With one row 4 were the fastest of
# 1, 2, 4, 8 and 16 on two cores: more only wait for each other's rows until a commit.
# With 16 rows 16 were as fast as 32.
POSTGRES = (("", 1, 4), (", 16 rows a counter", 16, 16))


class Size(NamedTuple):
    """How much is sent: requests a round. `batches` hold BATCH_EVENTS each."""

    rounds: int = 7
    single: int = 15_000
    batches: int = 2_500
    postgres: int = 2_000
    sqlite: int = 1_500
    summary_file: int = 300


def single(root: Path, size: Size) -> list[Figure]:
    """Single events against a handler that only reads and answers, from few connections
    and from many.
    """
    ratios: dict[int, list[float]] = {connections: [] for connections in SINGLE_CONNECTIONS}
    rates: dict[int, list[float]] = {connections: [] for connections in SINGLE_CONNECTIONS}
    with null_handler() as (null, null_port), worker(root) as (_, port):
        ports = {"null": null_port, "ours": port}
        for target in ports.values():
            load(target, size.single // 5, 1, SINGLE_CONNECTIONS[0], 1)
        for turn, (round_, connections) in enumerate(product(range(size.rounds), SINGLE_CONNECTIONS)):
            seconds = {}
            for name in in_turn(ports, round_):
                seconds[name] = load(ports[name], size.single, 1, connections, 2 + turn)["seconds"]
            ratios[connections].append(seconds["null"] / seconds["ours"])
            rates[connections].append(size.single / seconds["ours"])
        generator = generator_share(null_port, null.pid, size)
    check_counted(root, size.single // 5 + len(SINGLE_CONNECTIONS) * size.rounds * size.single)
    what = "single events of {} connections: {}"
    return [
        *(
            Figure(
                what.format(n, "one worker / a handler that only answers"),
                statistics.median(found),
                wanted=WANTED_SINGLE,
                is_ratio=True,
            )
            for n, found in ratios.items()
        ),
        *(
            Figure(what.format(n, "requests a second, one worker"), statistics.median(found), "{:,.0f}")
            for n, found in rates.items()
        ),
        Figure(
            "load generator: its CPU / that of a handler that only answers", generator, wanted=0.9, less_is_better=True
        ),
    ]


def generator_share(port: int, pid: int, size: Size) -> float:
    """CPU of the load generator / of the server, for the same requests: with less than
    1 it is not what is measured.
    """
    made = make_requests(size.single, 1, port, 1)
    server, own = cpu_seconds(pid), time.process_time()
    uvloop.run(run_load(port, SINGLE_CONNECTIONS[0], made))
    return (time.process_time() - own) / max(
        cpu_seconds(pid) - server, 1 / CLOCK_TICKS
    )  # of a few requests none may be counted


def batches(root: Path, size: Size) -> list[Figure]:
    """Batches against decoding alone, and against writing and syncing the same bytes
    alone.
    """
    events = size.batches * BATCH_EVENTS
    rates: dict[str, list[float]] = {"ours": [], "decode": [], "disk": []}
    cpu_us = []
    data = root / "data"
    with worker(data) as (process, port):
        load(port, size.batches // 5, BATCH_EVENTS, BATCH_CONNECTIONS, 1)
        for round_ in range(size.rounds):
            for name in in_turn(rates, round_):
                if name == "ours":
                    before = cpu_seconds(process.pid)
                    seconds = load(port, size.batches, BATCH_EVENTS, BATCH_CONNECTIONS, 2 + round_)["seconds"]
                    cpu_us.append((cpu_seconds(process.pid) - before) / events * 1e6)
                elif name == "decode":
                    seconds = decode_seconds(size.batches, 2 + round_)
                else:
                    seconds = disk_seconds(root / "floor", size.batches, 2 + round_)
                rates[name].append(events / seconds)
    check_counted(data, size.batches // 5 * BATCH_EVENTS + size.rounds * events)
    to_decode, to_disk = (ratio(rates["ours"], rates[name]) for name in ("decode", "disk"))
    return [
        Figure(
            "batches of 100: one worker / decoding alone on one core", to_decode, wanted=WANTED_BATCHES, is_ratio=True
        ),
        Figure("batches of 100: durable events a second, one worker", statistics.median(rates["ours"]), "{:,.0f}"),
        Figure(
            "batches of 100: CPU of the worker for each event",
            statistics.median(cpu_us),
            "{:.2f} µs",
            WANTED_BATCH_US,
            True,
        ),
        Figure("batches of 100: events a second, decoding alone", statistics.median(rates["decode"]), "{:,.0f}"),
        Figure("batches of 100: one worker / writing and syncing the same bytes", to_disk, is_ratio=True),
    ]


class Baseline(NamedTuple):
    """A server that counts single events. `sums` are what it stored, by dimension, once
    it has ended.
    """

    command: list[str]
    requests: int
    sums: Callable[[], dict[str, int]]


def databases(root: Path, size: Size) -> list[Figure]:
    """Single events against counters in PostgreSQL, in SQLite and in one file. Without
    PostgreSQL its lines are left out.
    """
    baselines = {
        "SQLite, WAL": sqlite_baseline(root, size),
        "a summary file rewritten each time": file_baseline(root, size),
    }
    wanted = {"PostgreSQL, one transaction each": 4.0, "PostgreSQL, one statement each": 2.5}
    with ExitStack() as stack:
        try:
            server = stack.enter_context(
                running_postgres(postgres_kinds.system(), within=root, settings=postgres.SETTINGS)
            )
        except postgres_kinds.Absent as absent:
            print(f"PostgreSQL is left out: {absent}", file=sys.stderr)
        else:
            baselines = postgres_baselines(server.url, size) | baselines
        ratios = against(root / "data", baselines, size)
    return [
        Figure(f"single events: one worker / {name}", value, "{:.1f} times", wanted.get(name), is_ratio=True)
        for name, value in ratios.items()
    ]


def against(data: Path, baselines: dict[str, Baseline], size: Size) -> dict[str, float]:
    """How many times the rate of each baseline one worker has. Raises AssertionError
    when one of them lost an event.
    """
    rates: dict[str, list[float]] = {name: [] for name in ("ours", *baselines)}
    requests = {"ours": size.single} | {name: baseline.requests for name, baseline in baselines.items()}
    with ExitStack() as stack:
        ports = {"ours": stack.enter_context(worker(data))[1]}
        for name, baseline in baselines.items():
            ports[name] = free_port()
            stack.enter_context(running([*baseline.command, f"--port={ports[name]}"], ports[name]))
        for name, port in ports.items():
            load(port, requests[name] // 5, 1, AGAINST_CONNECTIONS, 1)
        for round_ in range(size.rounds):
            for name in in_turn(ports, round_):
                seconds = load(ports[name], requests[name], 1, AGAINST_CONNECTIONS, 2 + round_)["seconds"]
                rates[name].append(requests[name] / seconds)
    sent = {name: count // 5 + size.rounds * count for name, count in requests.items()}
    check_counted(data, sent["ours"])
    for name, baseline in baselines.items():
        check_sums(name, baseline.sums(), sent[name])
    return {name: ratio(rates["ours"], rates[name]) for name in baselines}


def postgres_baselines(url: str, size: Size) -> dict[str, Baseline]:
    """One row a counter, and for information 16 of them: the usual cure when requests
    wait for each other's rows.
    """

    def baseline(variant: str, slots: int, connections: int) -> Baseline:
        options = [f"--url={url}", f"--variant={variant}", f"--connections={connections}", f"--slots={slots}"]
        command = [sys.executable, "-m", "tests.bench.baselines.postgres", *options]
        schema = postgres.schema(variant, slots)
        return Baseline(command, size.postgres, lambda: asyncio.run(postgres.sums(url, schema)))

    return {
        f"PostgreSQL, one {variant} each{also}": baseline(variant, slots, connections)
        for also, slots, connections in POSTGRES
        for variant in postgres.COUNT
    }


def sqlite_baseline(root: Path, size: Size) -> Baseline:
    path = root / "counters.sqlite"
    command = [sys.executable, "-m", "tests.bench.baselines.sqlite", f"--path={path}"]
    return Baseline(command, size.sqlite, lambda: sqlite.sums(path))


def file_baseline(root: Path, size: Size) -> Baseline:
    path = root / "summary.json"
    command = [sys.executable, "-m", "tests.bench.baselines.summary_file", f"--path={path}"]
    return Baseline(command, size.summary_file, lambda: summary_file.sums(path))


def in_turn(names: Iterable[str], round_: int) -> list[str]:
    """The names, in each round in the other order."""
    return list(names) if round_ % 2 else list(names)[::-1]


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def decode_seconds(requests: int, seed: int) -> float:
    options = [f"--requests={requests}", f"--events={BATCH_EVENTS}", f"--seed={seed}"]
    command = [sys.executable, "-m", "tests.bench.baselines.decode", *options]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    return float(json.loads(done.stdout)["seconds"])


def disk_seconds(path: Path, requests: int, seed: int) -> float:
    made = make_requests(requests, BATCH_EVENTS, 80, seed)
    try:
        return write_seconds(path, [request.partition(b"\r\n\r\n")[2] for request in made], BATCH_CONNECTIONS)
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def check_counted(data: Path, sent: int) -> None:
    """Fold the log. Raises AssertionError unless every event that was acknowledged is
    counted.
    """
    compact_once(DataDirectory(data), Settings(data_dir=data), SilentLog())
    counted = load_snapshot(DataDirectory(data)).totals.counted
    if counted != sent:
        raise AssertionError(f"{sent} events were acknowledged, {counted} are counted")


def check_sums(name: str, sums: dict[str, int], sent: int) -> None:
    """Raises AssertionError unless each dimension counts every event that was
    acknowledged.
    """
    if any(count != sent for count in sums.values()):
        raise AssertionError(f"{name}: {sent} events were acknowledged, the counters say {sums}")
