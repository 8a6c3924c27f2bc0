"""What ingest feels of a fold and of heavy reports: p99 of single events while one of
them runs / p99 while none does.

`foldlog serve` runs as in production, and single events come in an open loop at RATE
requests a second. Rounds alternate: idle, folding, idle, reporting. Folding: the log
holds a backlog that takes the compactor about as long as the round. Reporting: the
whole archive is asked for its visitors by path, without the events of another path each
time, so that no answer is a kept one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from foldlog.load.plan import AGENT, Outcome
from foldlog.load.run import generate, make_plan
from foldlog.load.target import BenchError, Target, ask, fold_and_count
from tests.bench.processes import ADMIN_TOKEN, serving

RATE = 1_000.0
WANTED_RATIO = 2.0
CONNECTIONS = 128
BACKLOG_BATCH = 250
BACKLOG_MAX = 3_000_000
AT_ONCE: dict[str, Any] = {"events": BACKLOG_BATCH, "connections": 16, "users": 100_000, "answer_s": 300.0}
SETTLE_S = 1.0


class Isolation(NamedTuple):
    """Medians of the rounds: p99 busy / p99 idle, and p99 in milliseconds. `fold_share`
    is how much of its rounds the fold ran.

    `reports` is how many heavy reports were answered, `report_s` how long one took.
    """

    folding: float
    reporting: float
    idle_ms: float
    folding_ms: float
    reporting_ms: float
    fold_share: float
    reports: int
    report_s: float
    rounds: int


class _Account:
    """Events that were acknowledged so far, of all loads."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.acknowledged = 0

    def load(self, rate: float, seconds: float, **options: object) -> Outcome:
        """Raises BenchError unless everything was stored."""
        outcome = generate(make_plan(self.target, [rate], seconds, connections=CONNECTIONS, **options))
        self.acknowledged += outcome.acknowledged
        if set(outcome.statuses) != {"200"} or outcome.unanswered:
            raise BenchError(f"not everything was stored: {outcome.statuses}, {outcome.codes}")
        return outcome

    def probe(self, seconds: float) -> Outcome:
        """Single events of many users, who come through a proxy."""
        return self.load(RATE, seconds, forwarded=True, users=100_000)

    def add_backlog(self, events: int) -> None:
        """Send batches with a key, as fast as they are taken."""
        keyed = f"Host: bench.example\r\nUser-Agent: {AGENT}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
        target = msgspec.structs.replace(self.target, headers=keyed)
        # What waits for the disk is bounded, and more at once would be refused: 16
        # connections wait for their answers.
        plan = make_plan(target, [events / BACKLOG_BATCH * 100], 0.01, **AT_ONCE)
        outcome = generate(plan)
        self.acknowledged += outcome.acknowledged
        if set(outcome.statuses) != {"200"}:
            raise BenchError(f"the backlog was not stored: {outcome.statuses}, {outcome.codes}")


def compare(root: Path, rounds: int = 5, seconds: float = 8.0, first_backlog: int = 200_000) -> Isolation:
    """Raises BenchError unless every event was stored and counted once."""
    with serving(root / "isolation", FOLDLOG_FOLD_INTERVAL="86400") as target:
        account = _Account(target)
        rate = _fold_rate(account, first_backlog)
        backlog = int(min(BACKLOG_MAX, max(first_backlog, rate * seconds * 1.2)))
        busy: dict[str, list[float]] = {"idle": [], "folding": [], "reporting": []}
        ratios: dict[str, list[float]] = {"folding": [], "reporting": []}
        shares, report_s = [], []
        for _ in range(rounds):
            for name in ratios:
                if name == "folding":
                    account.add_backlog(backlog)
                time.sleep(SETTLE_S)
                idle = account.probe(seconds).latency["p99"]
                with _BUSY[name](target) as spent:
                    started = time.monotonic()
                    p99 = account.probe(seconds).latency["p99"]
                    ended = time.monotonic()
                ratios[name].append(p99 / idle)
                busy["idle"].append(idle)
                busy[name].append(p99)
                if name == "folding":
                    shares.append(min(1.0, spent[0] / (ended - started)))
                else:
                    report_s += spent
        counted = fold_and_count(target)
    if counted != account.acknowledged:
        raise BenchError(f"{account.acknowledged} events were acknowledged, {counted} are counted")
    of = {name: statistics.median(found) for name, found in (busy | {"share": shares, "report": report_s}).items()}
    return Isolation(
        statistics.median(ratios["folding"]),
        statistics.median(ratios["reporting"]),
        of["idle"],
        of["folding"],
        of["reporting"],
        of["share"],
        len(report_s),
        of["report"],
        rounds,
    )


def _fold_rate(account: _Account, events: int) -> float:
    """Events a second of one fold, and a warm-up of everything."""
    account.probe(1.0)
    account.add_backlog(events)
    started = time.monotonic()
    fold_and_count(account.target)
    return events / (time.monotonic() - started)


@contextmanager
def folding(target: Target) -> Iterator[list[float]]:
    """Have the compactor fold what is there. How long that took is in the list at the
    end.
    """
    spent: list[float] = []

    def fold() -> None:
        started = time.monotonic()
        fold_and_count(target)
        spent.append(time.monotonic() - started)

    with _beside(fold):
        yield spent
    if not spent:
        raise BenchError("the fold failed")


@contextmanager
def reporting(target: Target) -> Iterator[list[float]]:
    """Ask one heavy question after the other. How long each took is in the list."""
    spent: list[float] = []
    ended = threading.Event()

    def question() -> None:
        for number in count():
            asked = {"by": "path", "limit": "10000", "bots": "include", "filter": f"path!=/{time.time_ns()}/{number}"}
            started = time.monotonic()
            status, answer = ask(target, "GET", f"/admin/api/report?{urlencode(asked)}")
            if status != 200:
                raise BenchError(f"a report was answered with {status}: {answer[:300]!r}")
            spent.append(time.monotonic() - started)
            if ended.is_set():
                return

    with _beside(question):
        try:
            yield spent
        finally:
            ended.set()
    if not spent:
        raise BenchError("no report was answered")


_BUSY: dict[str, Callable[[Target], AbstractContextManager[list[float]]]] = {"folding": folding, "reporting": reporting}


@contextmanager
def _beside(work: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread, and wait for its end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each probe; a round has four")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        found = compare(Path(root), given.rounds, given.seconds)
    print(f"p99 while folding / idle, median of {found.rounds}: {found.folding:.2f} (wanted: at most {WANTED_RATIO:g})")
    print(
        f"p99 while reporting / idle, median of {found.rounds}: {found.reporting:.2f} (wanted: at most "
        f"{WANTED_RATIO:g})"
    )
    print(
        f"  p99 idle {found.idle_ms:.2f}, folding {found.folding_ms:.2f}, reporting {found.reporting_ms:.2f} ms, "
        f"{RATE:,.0f}/s"
    )
    print(
        f"  the fold ran for {found.fold_share:.0%} of its rounds; {found.reports} reports took "
        f"{found.report_s:.1f} s each"
    )
    if max(found.folding, found.reporting) > WANTED_RATIO:
        sys.exit("NOT AS WANTED")


if __name__ == "__main__":
    main()
