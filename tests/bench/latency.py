"""Latency at half of the maximum rate: single events in an open loop against `foldlog
serve`, durable, with its gate.

The maximum comes first, from as many requests as one process can keep under way on
CONNECTIONS connections. Then, in each round, requests come at random at half of that
rate, and their latency counts from the moment at which they were due.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from foldlog.load.run import Result, make_plan, run
from foldlog.load.target import BenchError, Target
from tests.bench.processes import serving

CONNECTIONS = 128
WANTED_P99_MS = 20.0


class Latency(NamedTuple):
    """Requests a second at most, and at half of that the medians of the rounds'
    percentiles in milliseconds.
    """

    most: float
    p50: float
    p99: float
    p999: float
    slowest: float
    late_p99: float
    rounds: int


def half_of_maximum(root: Path, rounds: int = 5, seconds: float = 10.0, requests: int = 20_000) -> Latency:
    """Raises BenchError unless every request was answered with 200 and every
    acknowledged event was counted.
    """
    with serving(root / "latency") as target:
        maximum(target, requests // 4)
        most = statistics.median(maximum(target, requests) for _ in range(3))
        found = [checked(target, most / 2, seconds).outcome for _ in range(rounds)]
    latencies = [outcome.latency for outcome in found]
    p50, p99, p999, slowest = (
        statistics.median(each[at] for each in latencies) for at in ("p50", "p99", "p99.9", "max")
    )
    return Latency(most, p50, p99, p999, slowest, statistics.median(outcome.late["p99"] for outcome in found), rounds)


def maximum(target: Target, requests: int) -> float:
    """Requests a second when all of them are due at once."""
    plan = make_plan(
        target, [requests * 100.0], 0.01, connections=CONNECTIONS, forwarded=True, users=100_000, answer_s=120.0
    )
    result = whole(run(target, plan))
    return result.outcome.requests / (result.outcome.latency["max"] / 1000)


def checked(target: Target, rate: float, seconds: float) -> Result:
    plan = make_plan(target, [rate], seconds, warm_up_s=1.0, connections=CONNECTIONS, forwarded=True, users=100_000)
    return whole(run(target, plan))


def whole(result: Result) -> Result:
    """The result, if nothing was refused and nothing lost. Raises BenchError."""
    outcome = result.outcome
    if result.rejected or outcome.unanswered:
        raise BenchError(
            f"not everything was stored: {outcome.statuses}, {outcome.codes}, {outcome.unanswered} without answer"
        )
    if result.is_lossy or result.counted is None:
        raise BenchError(f"{outcome.acknowledged} events were acknowledged, {result.counted} are counted")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        found = half_of_maximum(Path(root), given.rounds, given.seconds)
    print(f"maximum: {found.most:,.0f} requests/s")
    print(f"p99 at half of it, median of {found.rounds}: {found.p99:.2f} ms (wanted: at most {WANTED_P99_MS:g})")
    print(f"  p50 {found.p50:.2f}, p99.9 {found.p999:.2f}, slowest {found.slowest:.2f} ms")
    print(f"  the generator was late: p99 {found.late_p99:.2f} ms")


if __name__ == "__main__":
    main()
