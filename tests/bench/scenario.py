"""The acceptance scenario: a day of 100,000 users, compressed, against `foldlog serve`
on two cores. Part of `make load`.

The day: USERS users of EVENTS_PER_USER events each, five in a request: two pages are
seen, and each sends what happened on it when it is left. Its curve has a night, a day
and half an hour in which the rate is ten times the mean. It is played in SECONDS
seconds, so all rates are 86,400 / SECONDS times those of a real day. Every user has an
address, which a proxy passes on, and the rate limit counts it with its default limit.

Meanwhile the compactor folds every minute, and the questions of a dashboard are asked
every few seconds. Afterwards the log is folded, what was acknowledged is compared with
what is counted, and `foldlog verify` recounts everything. The exit code is 1 unless
nothing was refused, nothing was lost, nothing is wrong, and p99 is under 25 ms.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from foldlog import terminal
from foldlog.load.plan import Plan
from foldlog.load.run import Result, make_plan, run
from foldlog.load.summary import summary
from foldlog.load.target import Target, ask
from foldlog.terminal import Console
from tests.bench.processes import serving

USERS = 100_000
EVENTS_PER_USER = 10
EVENTS_PER_REQUEST = 5
SECONDS = 900.0
DAY_S = 86_400
SLICES = 96  # a quarter of an hour of the day each
PEAK = range(78, 80)  # from 19:30 to 20:00
PEAK_FACTOR = 10.0
WANTED_P99_MS = 25.0
QUESTIONS_S = 5.0
# What the dashboard asks when it is opened: a chart and the first values of each table.
QUESTIONS: tuple[dict[str, str], ...] = (
    {"interval": "hour"},
    {"by": "path", "limit": "10"},
    {"by": "referrer", "limit": "10"},
    {"by": "country", "limit": "10"},
    {"by": "browser", "limit": "10"},
)


class Acceptance(NamedTuple):
    """A played day. `questions` are reports that were answered meanwhile; `wrong` is
    what was not as wanted.
    """

    plan: Plan
    result: Result
    questions: int
    wrong: list[str]


def day_curve(mean: float) -> list[float]:
    """Requests a second in each slice of a day: quiet nights, busy evenings, and the
    peak, ten times the mean.
    """
    usual = [0.15 + max(0.0, math.sin(math.pi * (slice_ / SLICES * 24 - 6) / 17)) for slice_ in range(SLICES)]
    rest = sum(usual[slice_] for slice_ in range(SLICES) if slice_ not in PEAK)
    left = SLICES - PEAK_FACTOR * len(PEAK)
    return [mean * (PEAK_FACTOR if slice_ in PEAK else usual[slice_] * left / rest) for slice_ in range(SLICES)]


def play(
    root: Path,
    users: int = USERS,
    seconds: float = SECONDS,
    before_fold: Callable[[], None] = lambda: None,
    **settings: str,
) -> Acceptance:
    """Play the day and check everything. Raises BenchError when no server answers."""
    data = root / "scenario"
    mean = users * EVENTS_PER_USER / EVENTS_PER_REQUEST / seconds
    with serving(data, **settings) as target:
        plan = make_plan(
            target,
            day_curve(mean),
            seconds,
            warm_up_s=min(5.0, seconds / 10),
            events=EVENTS_PER_REQUEST,
            users=users,
            connections=256,
            forwarded=True,
        )
        with asking(target) as statuses:
            result = run(target, plan, before_fold)
    wrong = list(faults(result, statuses))
    verified = subprocess.run(
        [sys.executable, "-m", "foldlog", "verify"],
        env={"FOLDLOG_DATA_DIR": str(data), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if verified.returncode:
        wrong.append(f"verify: {verified.stdout}{verified.stderr}")
    return Acceptance(plan, result, statuses.count(200), wrong)


def faults(result: Result, report_statuses: list[int]) -> Iterator[str]:
    """What is not as wanted."""
    outcome = result.outcome
    if result.rejected:
        yield f"{result.rejected} of {outcome.requests} requests were refused or not answered: {outcome.codes}"
    if result.is_lossy or result.counted is None:
        yield f"{outcome.acknowledged} events were acknowledged, {result.counted} are counted"
    if outcome.latency["p99"] >= WANTED_P99_MS:
        yield f"p99 is {outcome.latency['p99']} ms, wanted is under {WANTED_P99_MS:g}"
    if set(report_statuses) - {200}:
        yield f"reports were answered with {sorted(set(report_statuses))}"


@contextmanager
def asking(target: Target) -> Iterator[list[int]]:
    """Ask what the dashboard asks, all over again, while the block runs. The statuses
    of the answers are in the list.
    """
    statuses: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(QUESTIONS_S):
            paths = [f"/admin/api/report?{urlencode(week() | question)}" for question in QUESTIONS]
            statuses.extend(ask(target, "GET", path)[0] for path in paths)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


def week() -> dict[str, str]:
    today = datetime.now(UTC).date()
    return {"from": str(today - timedelta(days=6)), "to": str(today)}


def assumptions(users: int, seconds: float) -> Iterator[tuple[str, str]]:
    """What was played, and which rates of a real day that is."""
    events = users * EVENTS_PER_USER
    factor = DAY_S / seconds
    yield "users, events of each, events in a request", f"{users:,}, {EVENTS_PER_USER}, {EVENTS_PER_REQUEST}"
    yield "events a day", f"{events:,}"
    yield "the day is played in", f"{seconds:,.0f} s: {factor:,.0f} times as fast"
    mean = events / seconds
    yield "events a second: mean, peak", f"{mean:,.0f}, {mean * PEAK_FACTOR:,.0f}"
    requests = mean / EVENTS_PER_REQUEST
    yield "requests a second: mean, peak", f"{requests:,.0f}, {requests * PEAK_FACTOR:,.0f}"
    yield "  in the real day", f"{requests / factor:,.1f}, {requests * PEAK_FACTOR / factor:,.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="in which the day is played (at least 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to a file")
    given = parser.parse_args()
    console = Console()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        terminal.pairs(console, assumptions(given.users, given.seconds))
        played = play(Path(root), given.users, max(5.0, given.seconds))
    terminal.pairs(console, summary(played.plan, played.result))
    terminal.pairs(
        console,
        [("reports answered meanwhile", f"{played.questions}"), ("took", f"{time.monotonic() - started:.0f} s")],
    )
    if given.json:
        given.json.write_bytes(msgspec.json.encode(played.result))
    if played.wrong:
        sys.exit("NOT ACCEPTED: " + "; ".join(played.wrong))
    print("accepted: nothing refused, nothing lost, verify found nothing wrong, p99 under 25 ms")


if __name__ == "__main__":
    main()
