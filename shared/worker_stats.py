"""Counters of one worker, as plain numbers: a request adds to a few of them without a
lock.

ingest/observe/metric_families.py renders those of all workers as Prometheus text;
docs/metrics.md explains each.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

NO_ROUTE = "none"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EVENTS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0)


class Histogram(msgspec.Struct):
    """Values counted by upper bound, and their sum. `counts` has one more entry, for
    values beyond the last bound.
    """

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def histogram(bounds: tuple[float, ...]) -> Histogram:
    return Histogram(bounds, [0] * (len(bounds) + 1))


class WorkerStats(msgspec.Struct):
    """Counters since the worker started. A key of `requests` is `route status code`."""

    requests: dict[str, int] = {}
    accepted: int = 0
    rejected: dict[str, int] = {}
    body_bytes: int = 0
    log_bytes: int = 0
    # Written by the writer thread only, the others by the event loop only, so no lock.
    commit_s: Histogram = msgspec.field(default_factory=lambda: histogram(SECONDS))
    fsync_s: Histogram = msgspec.field(default_factory=lambda: histogram(SECONDS))
    group_events: Histogram = msgspec.field(default_factory=lambda: histogram(EVENTS))
    commit_failures: int = 0
    segments_sealed: int = 0
    segments_displaced: int = 0
    segments_truncated: int = 0
    rate_store_failures: int = 0
    rate_store_bypassed: int = 0
    # Current values:
    queue_requests: int = 0
    queue_bytes: int = 0
    connections: int = 0
    readers: int = 0  # reports and exports that are being made
    rate_store_up: int = 1  # 0 while FOLDLOG_RATE_STORE does not answer

    def record_response(self, route: str, status: int, code: str) -> None:
        """Count one response. `code` is that of the problem, or `ok`."""
        key = f"{route} {status} {code}"
        self.requests[key] = self.requests.get(key, 0) + 1
