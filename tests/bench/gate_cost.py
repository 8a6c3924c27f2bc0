"""`make gate-cost`: single-event throughput of a worker with its gate, as a share of
that of one without it.

The one without is tests/bench/ungated_worker.py, which says what is out. Both run at
once and are loaded in turns, each round in the other order; the figure is the median of
the rounds' ratios. The first case is a worker without a proxy in front, and one client:
the rate limit counts it, is never reached, and has it easy, because it counts a client
that goes on sending many at a time. The second, for information, is the other end: one
trusted proxy that passes on 5,000 clients, each of which sends a request now and then.
Whatever was acknowledged must be counted afterwards.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from compactor.process import compact_once
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.settings import Settings
from tests.bench import load
from tests.bench.processes import cpu_seconds, free_port, running, worker
from tests.bench.processes import load as load_in_own_process
from tests.builders.silent_log import SilentLog

AT_LEAST = 0.90
CONNECTIONS = 32
CLIENTS = 5_000
WARM_UP = 3_000

# (port, requests, seed) → what the load generator measured
Load = Callable[[int, int, int], dict[str, Any]]


def main() -> None:
    given = options()
    if given.through_proxy_to:
        send_through_proxy(given.through_proxy_to, given.requests, given.seed)
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        ratio = compare(Path(root) / "plain", "one client", plain_load, given)
        compare(Path(root) / "proxy", "5,000 behind a proxy", proxy_load, given, FOLDLOG_TRUSTED_PROXIES="127.0.0.1")
    if ratio < AT_LEAST:
        sys.exit(f"the gate costs more than {1 - AT_LEAST:.0%}: {ratio:.3f}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--requests", type=int, default=8_000, help="in each round, to each of the two")
    parser.add_argument("--through-proxy-to", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(root: Path, case: str, send: Load, given: argparse.Namespace, **settings: str) -> float:
    """The median of throughput with the gate / without it."""
    root.mkdir()
    data = {"gated": root / "gated", "ungated": root / "ungated"}
    rates: dict[str, list[float]] = {name: [] for name in data}
    cpu_us: dict[str, list[float]] = {name: [] for name in data}
    with worker(data["gated"], **settings) as gated, ungated_worker(data["ungated"], **settings) as ungated:
        workers = {"gated": gated, "ungated": ungated}
        for _, port in workers.values():
            send(port, WARM_UP, 1)
        for round_ in range(given.rounds):
            for name in sorted(workers, reverse=bool(round_ % 2)):
                process, port = workers[name]
                before = cpu_seconds(process.pid)
                rates[name].append(given.requests / send(port, given.requests, 2 + round_)["seconds"])
                cpu_us[name].append((cpu_seconds(process.pid) - before) / given.requests * 1e6)
    for directory in data.values():
        check_counted(directory, WARM_UP + given.rounds * given.requests)
    ratios = sorted(with_ / without for with_, without in zip(rates["gated"], rates["ungated"], strict=True))
    ratio = statistics.median(ratios)
    wanted = "" if settings else f"at least {AT_LEAST}"
    show(f"single-event throughput, {case}: with the gate / without", f"{ratio:.3f}", wanted)
    show(f"  lowest and highest of {given.rounds} rounds", f"{ratios[0]:.3f} … {ratios[-1]:.3f}", "")
    for name, values in rates.items():
        figure = f"{statistics.median(values):,.0f}/s, {statistics.median(cpu_us[name]):.1f} µs"
        show(f"  {name}: requests, CPU of the worker for each", figure, "")
    return ratio


@contextmanager
def ungated_worker(data: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    environ = {"FOLDLOG_DATA_DIR": str(data), "FOLDLOG_LISTEN": f"127.0.0.1:{port}", **settings}
    with running([sys.executable, "-m", "tests.bench.ungated_worker"], port, environ) as process:
        yield process, port


def plain_load(port: int, requests: int, seed: int) -> dict[str, Any]:
    return load_in_own_process(port, requests, 1, CONNECTIONS, seed)


def proxy_load(port: int, requests: int, seed: int) -> dict[str, Any]:
    """The same through a proxy: each request says whom it is for. Raises AssertionError
    unless all were answered with 200.
    """
    command = [
        sys.executable,
        "-m",
        "tests.bench.gate_cost",
        f"--through-proxy-to={port}",
        f"--requests={requests}",
        f"--seed={seed}",
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["statuses"] != {"200": requests}:
        raise AssertionError(f"not every request was answered with 200: {result['statuses']}")
    return result


def send_through_proxy(port: int, requests: int, seed: int) -> None:
    """What proxy_load runs in a process of its own."""
    pick = random.Random(seed)
    made = [forwarded(request, pick) for request in load.make_requests(requests, 1, port, seed)]
    sys.stdout.write(json.dumps(uvloop.run(load.run(port, CONNECTIONS, made))) + "\n")


def forwarded(request: bytes, pick: random.Random) -> bytes:
    """A request as a proxy passes it on."""
    client = pick.randrange(CLIENTS)
    line = f"\r\nX-Forwarded-For: 198.18.{client // 250}.{client % 250}\r\nX-Forwarded-Proto: http\r\nContent-Type:"
    return request.replace(b"\r\nContent-Type:", line.encode("ascii"), 1)


def check_counted(root: Path, sent: int) -> None:
    compact_once(DataDirectory(root), Settings(data_dir=root), SilentLog())
    counted = load_snapshot(DataDirectory(root)).totals.counted
    if counted != sent:
        raise AssertionError(f"{sent} events were acknowledged, {counted} are counted")


def show(what: str, figure: str, target: str) -> None:
    print(f"{what:<64} {figure:>24}   {target}", flush=True)


if __name__ == "__main__":
    main()
