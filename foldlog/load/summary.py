"""The result of a run as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from foldlog.load.plan import Outcome, Plan
from foldlog.load.run import Result
from foldlog.load.sampling import Use


def summary(plan: Plan, result: Result) -> Iterator[tuple[str, str]]:
    """Rows of a name and a value."""
    outcome = result.outcome
    yield "requests, events in each", f"{outcome.requests:,}, {plan.events}"
    yield "rate: mean, highest", f"{sum(plan.rates) / len(plan.rates):,.0f}/s, {max(plan.rates):,.0f}/s"
    yield "latency since due, ms", _numbers(outcome.latency)
    if plan.spike is not None:
        yield from _spike(plan, outcome, plan.spike)
    elif len(plan.rates) > 1:
        busiest = max(outcome.slices, key=lambda each: each.rate)
        yield "  in the busiest slice, ms", f"p50 {busiest.p50}, p99 {busiest.p99}, max {busiest.max}"
    yield "answers by status", _numbers(outcome.statuses)
    if outcome.codes:
        yield "  rejections by code", _numbers(outcome.codes)
    yield "  without an answer", f"{outcome.unanswered:,}"
    yield "events acknowledged", f"{outcome.acknowledged:,}"
    yield (
        "  counted after the fold",
        "not compared: no token that permits reading and folding" if result.counted is None else _verdict(result),
    )
    for use in result.uses:
        yield f"memory and CPU of {use.name}", _use(use)
    yield from _own_faults(plan, outcome)


def _spike(plan: Plan, outcome: Outcome, at: int) -> Iterator[tuple[str, str]]:
    """The spike, its recovery, and the rest of the run."""
    yield "  outside of the spike, ms", _numbers(outcome.usual)
    for name, each in (("in the spike", outcome.slices[at]), ("in the slice after it", outcome.slices[at + 1])):
        yield (
            f"  {name}, {each.rate:,g}/s for {plan.slice_s:,g} s, ms",
            f"p50 {each.p50:,}, p99 {each.p99:,}, max {each.max:,}",
        )
        given_up = f", {each.given_up:,} refused until the run was over" if each.given_up else ""
        yield "    its requests acknowledged", f"{each.acknowledged:,} of {each.requests:,}{given_up}"


def _own_faults(plan: Plan, outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield "the generator was late, ms", _numbers(outcome.late)
    late = f"{outcome.late_share:.2%} of its requests were sent more than {plan.late_ms:g} ms late"
    if outcome.late["p99"] > plan.late_ms:
        late += ": THE LATENCIES ABOVE ARE PARTLY ITS OWN. Give it a core, or use a lower --rate"
    yield "  ", late
    if outcome.waited_for_connection:
        yield (
            "  waited for a free connection",
            f"{outcome.waited_for_connection:,} of its requests, part of their latency",
        )
    yield "  CPU of the generator", f"{outcome.cpu_s:.1f} s"


def _verdict(result: Result) -> str:
    counted = f"{result.counted:,}"
    return f"{counted}: NOT WHAT WAS ACKNOWLEDGED" if result.is_lossy else counted


def _numbers(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items()) or "none"


def _use(use: Use) -> str:
    seconds = use.at_s[-1] - use.at_s[0]
    share = f", {use.cpu_used_s / seconds:.0%} of a core" if seconds else ""
    memory = f"{use.rss_mib[0]:,.0f} MiB at first, {max(use.rss_mib):,.0f} at most, {use.rss_mib[-1]:,.0f} at last"
    return f"{memory}; {use.cpu_used_s:.1f} s{share}"
