"""What the load generator notes while it runs, and the Outcome that it makes of it."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from foldlog.load.plan import ACKNOWLEDGED, Outcome, Plan, Slice

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Measurements:
    """Counts and times of one run. `late`, in seconds, and `waited`, for a connection,
    are of the requests as they came due.
    """

    def __init__(self, plan: Plan, due: Sequence[float]) -> None:
        self._plan = plan
        self._requests = len(due)
        self._due = Counter(plan.slice_of(at) for at in due if at >= 0)
        self._statuses: Counter[int] = Counter()
        self._codes: Counter[str] = Counter()
        self._events = 0
        self._latency = [array("d") for _ in plan.rates]
        self._acknowledged: Counter[int] = Counter()
        self._at_end: Counter[int] = Counter()
        self._in_time: Counter[int] = Counter()
        self._given_up: Counter[int] = Counter()
        self.late = array("d")
        self.waited = 0
        self.unanswered = 0

    def add_answer(self, status: int, body: bytes) -> None:
        """Count an answer, and the events that it acknowledges."""
        self._statuses[status] += 1
        answer = _decode(body)
        self._events += answer.get("accepted", 0)
        if status >= 300:
            rejected = answer.get("rejected") or [{}]
            self._codes[answer.get("code") or rejected[0].get("code") or "unknown"] += 1

    def add_end(self, due: float, now: float, status: int) -> None:
        """Note that a request has its last answer. The warm-up is not measured."""
        if due < 0:
            return
        slice_ = self._plan.slice_of(due)
        self._latency[slice_].append(now - due)
        if status in ACKNOWLEDGED:
            self._acknowledged[slice_] += 1
            self._at_end[slice_] += now <= self._end_of(slice_)
            self._in_time[slice_] += now <= self._end_of(slice_) + self._plan.behind_s

    def give_up(self, due: float) -> None:
        self._given_up[self._plan.slice_of(due)] += 1

    def _end_of(self, slice_: int) -> float:
        """When the stretch with one rate ends that the slice is part of."""
        spike = self._plan.spike
        return self._plan.seconds if spike is None or slice_ >= spike else spike * self._plan.slice_s

    def outcome(self, cpu_s: float) -> Outcome:
        plan = self._plan
        late_ms = [seconds * 1000 for seconds in self.late]
        usual = [part for number, part in enumerate(self._latency) if not plan.is_spike(number)]
        return Outcome(
            requests=self._requests,
            seconds=plan.seconds,
            statuses={str(status): count for status, count in sorted(self._statuses.items())},
            codes=dict(self._codes.most_common()),
            acknowledged=self._events,
            unanswered=self.unanswered,
            latency=_in_ms(self._latency),
            usual=_in_ms(usual),
            late=percentiles(late_ms),
            late_share=sum(ms > plan.late_ms for ms in late_ms) / max(1, len(late_ms)),
            waited_for_connection=self.waited,
            slices=[self._slice(number) for number in range(len(plan.rates))],
            cpu_s=round(cpu_s, 3),
        )

    def _slice(self, number: int) -> Slice:
        found = _in_ms([self._latency[number]])
        return Slice(
            rate=self._plan.rates[number],
            requests=self._due[number],
            p50=found["p50"],
            p99=found["p99"],
            max=found["max"],
            acknowledged=self._acknowledged[number],
            at_end=self._at_end[number],
            in_time=self._in_time[number],
            given_up=self._given_up[number],
        )


def _decode(body: bytes) -> dict[str, Any]:
    """An answer of Foldlog; nothing of one that a proxy made."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _in_ms(parts: Iterable[array[float]]) -> dict[str, float]:
    return percentiles([seconds * 1000 for part in parts for seconds in part])


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """`p50`, `p90`, `p99`, `p99.9` and `max` by nearest rank; 0 of no values."""
    ordered = sorted(values)

    def at(percent: float) -> float:
        return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 3) if ordered else 0.0

    return {**{f"p{percent:g}": at(percent) for percent in PERCENTILES}, "max": at(100)}
