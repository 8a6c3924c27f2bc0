"""What the load generator sends and when, and what it measured."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
LATE_MS = 5.0
BEHIND_S = 1.0
ANSWER_S = 30.0
ACKNOWLEDGED = (200, 202)


class Plan(msgspec.Struct, kw_only=True):
    """What to send. `rates` are requests a second in equal slices of `seconds`, after a
    warm-up at the first rate.

    `spike`: the number of the slice that is a spike. Requests that are due in it, or in
    the slice after it, are sent again when they were refused for the moment.

    `behind_s`: a server that keeps up has answered so long after the end. One that is
    given more than it can take falls further behind with every second.

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
    answer_s: float = ANSWER_S
    behind_s: float = BEHIND_S
    spike: int | None = None

    @property
    def slice_s(self) -> float:
        return self.seconds / len(self.rates)

    def slice_of(self, due: float) -> int:
        """The slice of a request that was due at that second of the run."""
        return min(int(due / self.slice_s), len(self.rates) - 1)

    def is_spike(self, slice_: int) -> bool:
        """Whether it is the spike or its recovery, in which refusals are allowed."""
        return self.spike is not None and self.spike <= slice_ <= self.spike + 1


class Slice(msgspec.Struct):
    """One slice of the run: planned requests a second, requests that were due, their
    p50, p99 and maximum in milliseconds.

    Of them `acknowledged` were answered with 200 or 202, `at_end` of these before the
    rate changed or the run ended, and `in_time` at most `behind_s` later. `given_up`
    were refused for longer than the run lasts.
    """

    rate: float
    requests: int
    p50: float
    p99: float
    max: float
    acknowledged: int
    at_end: int
    in_time: int
    given_up: int


class Outcome(msgspec.Struct, kw_only=True):
    """The measurements. Times in milliseconds; latencies and lateness exclude the
    warm-up, counts include it.

    `acknowledged`: events that the server confirmed; those of `unanswered` requests may
    be stored or not. `late`: how long after it was due the generator sent a request,
    which is its own fault and part of the latency. `usual` is the latency without the
    spike and its recovery.
    """

    requests: int
    seconds: float
    statuses: dict[str, int]
    codes: dict[str, int]
    acknowledged: int
    unanswered: int
    latency: dict[str, float]
    usual: dict[str, float] = {}
    late: dict[str, float]
    late_share: float
    waited_for_connection: int
    slices: list[Slice]
    cpu_s: float


def arrivals(plan: Plan) -> Iterator[float]:
    """When each request is due, in seconds of the run; negative in the warm-up.

    Visitors arrive independently, as in a Poisson process of which the number of
    arrivals is known: a rate that is wanted is then exactly the rate that is planned.
    """
    pick = random.Random(plan.seed)  # noqa: S311
    slice_s = plan.slice_s
    edges = [(-plan.warm_up_s, 0.0, plan.rates[0])]
    edges += [(number * slice_s, (number + 1) * slice_s, rate) for number, rate in enumerate(plan.rates)]
    planned = 0.0
    for start, end, rate in edges:
        planned += rate * (end - start)
        count = int(planned + 1e-6)
        planned -= count
        yield from sorted(start + pick.random() * (end - start) for _ in range(count))
