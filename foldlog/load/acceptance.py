"""Whether a run reached what was wanted of the server: its rate, its p99, and that
everything acknowledged is counted.

Latencies count from when a request was due, so a load generator that is late itself
makes a result worse and never better: what was reached was reached.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from foldlog.load.plan import Plan, Slice
from foldlog.load.run import Result

# So many of the requests that were due, as of the answers that p99 is about.
RATE_SHARE = 0.99
# A spike is one of so many equal slices of the run. The slice after it is its recovery.
SPIKE_SLICES = 10
SPIKE_AT = 4


class Finding(msgspec.Struct):
    """One thing that was wanted, and what was measured of it."""

    what: str
    wanted: str
    measured: str
    is_reached: bool


def with_spike(rate: float, factor: float) -> tuple[list[float], int]:
    """The rates of the slices of a run with a spike, and which of them it is."""
    return [rate * factor if number == SPIKE_AT else rate for number in range(SPIKE_SLICES)], SPIKE_AT


def findings(plan: Plan, result: Result, p99_ms: float) -> list[Finding]:
    return [_rate(plan, result), _answers(plan, result), _p99(result, p99_ms), _count(result)]


def _rate(plan: Plan, result: Result) -> Finding:
    """Acknowledged requests a second. Where the server fell behind, what it answered
    after the end is no part of what it did in that time.
    """
    usual = _usual(plan, result)
    seconds, due = plan.slice_s * len(usual), sum(each.requests for each in usual)
    in_time = sum(each.in_time for each in usual)
    is_reached = in_time >= max(1, RATE_SHARE * due)
    measured = (in_time if is_reached else sum(each.at_end for each in usual)) / seconds
    wanted = f"at least {RATE_SHARE:.0%} of {plan.rates[0]:,g} requests/s"
    return Finding("rate", wanted, f"{measured:,.1f} requests/s", is_reached)


def _answers(plan: Plan, result: Result) -> Finding:
    """Outside of a spike each request is acknowledged. In it, and after it, a request
    may still be refused when the run is over.
    """
    slices = result.outcome.slices
    missing = sum(each.requests - each.acknowledged for each in slices)
    missing -= sum(each.given_up for number, each in enumerate(slices) if plan.is_spike(number))
    return Finding("requests refused or unanswered", "none", f"{missing:,}", missing == 0)


def _p99(result: Result, p99_ms: float) -> Finding:
    measured = result.outcome.usual
    has_any = bool(measured["max"])
    said = f"{measured['p99']:,} ms" if has_any else "no answer"
    return Finding("p99 since due", f"at most {p99_ms:,g} ms", said, has_any and measured["p99"] <= p99_ms)


def _count(result: Result) -> Finding:
    least, most = result.outcome.acknowledged, result.most_countable
    wanted = f"{least:,} as acknowledged" if least == most else f"from {least:,} acknowledged to {most:,} sent"
    measured = "not counted" if result.counted is None else f"{result.counted:,}"
    return Finding("events counted", wanted, measured, result.counted is not None and not result.is_lossy)


def _usual(plan: Plan, result: Result) -> list[Slice]:
    """The slices outside of the spike."""
    return [each for number, each in enumerate(result.outcome.slices) if not plan.is_spike(number)]


def misses(plan: Plan, result: Result, found: list[Finding]) -> Iterator[str]:
    """A line for each finding that was not reached, and one where the load generator
    has part in them.
    """
    missed = [each for each in found if not each.is_reached]
    for each in missed:
        yield f"not reached: {each.what}: wanted {each.wanted}, measured {each.measured}"
    late = result.outcome.late
    if missed and late["p99"] > plan.late_ms:
        yield (
            f"the load generator fell behind: p99 {late['p99']:,} ms after a request was due. That is part of what was "
            "measured; give it a core, or use a lower --rate"
        )
