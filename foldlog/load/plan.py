"""What the load generator sends and when, and what it measured."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
LATE_MS = 5.0


class Plan(msgspec.Struct, kw_only=True):
    """What to send. `rates` are requests a second in equal slices of `seconds`, after a
    warm-up at the first rate.

    `headers` are whole lines, each with its line end. `forwarded`: each request carries
    an X-Forwarded-For with an address per user. Runs that differ in `run` (8 hex
    digits) share no event id.
    """

    host: str
    port: int
    headers: str
    site: str
    rates: list[float]
    seconds: float
    run: str
    warm_up_s: float = 0.0
    events: int = 1
    users: int = 10_000
    connections: int = 128
    seed: int = 1
    forwarded: bool = False
    late_ms: float = LATE_MS
    answer_s: float = 30.0


class Slice(msgspec.Struct):
    """One slice of the run: planned requests a second, requests that were due, their
    p50, p99 and maximum in milliseconds.
    """

    rate: float
    requests: int
    p50: float
    p99: float
    max: float


class Outcome(msgspec.Struct, kw_only=True):
    """The measurements. Times in milliseconds; latencies and lateness exclude the
    warm-up, counts include it.

    `acknowledged`: events that the server confirmed; those of `unanswered` requests may
    be stored or not. `late`: how long after it was due the generator sent a request,
    which is its own fault and part of the latency.
    """

    requests: int
    seconds: float
    statuses: dict[str, int]
    codes: dict[str, int]
    acknowledged: int
    unanswered: int
    latency: dict[str, float]
    late: dict[str, float]
    late_share: float
    waited_for_connection: int
    slices: list[Slice]
    cpu_s: float


def arrivals(plan: Plan) -> Iterator[float]:
    """When each request is due, in seconds of the run; negative in the warm-up.
    Visitors arrive independently (Poisson).
    """
    pick = random.Random(plan.seed)  # noqa: S311
    slice_s = plan.seconds / len(plan.rates)
    edges = [(-plan.warm_up_s, 0.0, plan.rates[0])]
    edges += [(number * slice_s, (number + 1) * slice_s, rate) for number, rate in enumerate(plan.rates)]
    for start, end, rate in edges:
        if rate <= 0:
            continue
        at = start + pick.expovariate(rate)
        while at < end:
            yield at
            at += pick.expovariate(rate)
