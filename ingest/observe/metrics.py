"""GET /metrics: everything that an operator may want an alert for, in the words of
Prometheus. docs/metrics.md lists it.

What workers count comes from each of them (ingest/observe/peers.py) and has a label
`worker`, so that one that was started again is seen as such. What the compactor did
comes from the snapshot: it needs no port, and its numbers survive it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from importlib.metadata import version

from aiohttp import web
from aiohttp.web_request import BaseRequest
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.context import WorkerContext
from shared.disk.layout import DataDirectory
from shared.erasures import count_pending
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.peers import query_workers
from shared.segments.quarantine import lines_quarantined_by_recovery
from shared.segments.sealed import active_segments, file_sizes, sealed_segments
from shared.settings import Settings
from shared.timestamps import epoch_ms, now_ms
from shared.undeclared_proxy import warning
from shared.worker_stats import Histogram, WorkerStats

Workers = dict[str, WorkerStats | None]


async def get_metrics(worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """All workers and the compactor, as Prometheus text."""
    text = await asyncio.to_thread(render, worker)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


def render(worker: WorkerContext) -> bytes:
    """The text. Reads the snapshot, lists the log, asks the other workers."""
    registry = CollectorRegistry()
    registry.register(_Everything(worker))
    return generate_latest(registry)


class _Everything(Collector):
    def __init__(self, worker: WorkerContext) -> None:
        self._worker = worker

    def describe(self) -> Iterator[Metric]:
        return iter(())  # the library would collect everything once only to learn its names

    def collect(self) -> Iterator[Metric]:
        data, settings = self._worker.data, self._worker.settings
        snapshot = load_snapshot(data)
        yield _gauge("foldlog_build_info", "The version that runs.", {(version("foldlog"),): 1}, ("version",))
        yield from of_workers(query_workers(data))
        yield from of_segments(data, snapshot)
        yield from of_snapshot(data, snapshot)
        yield from of_retention(data, snapshot, settings)
        yield from of_disk(data, settings)


def of_workers(workers: Workers) -> Iterator[Metric]:
    """What each worker counted since it started, and what waits in it now."""
    up = {name: stats for name, stats in workers.items() if stats is not None}
    yield _gauge(
        "foldlog_worker_up",
        "1 if the worker answers, 0 if it was killed or is stuck.",
        {(name,): float(name in up) for name in workers},
        ("worker",),
    )
    requests = CounterMetricFamily(
        "foldlog_requests",
        "Answers, by route, HTTP status and problem code.",
        labels=("worker", "route", "status", "code"),
    )
    rejected = CounterMetricFamily(
        "foldlog_events_rejected", "Events that were rejected, by code.", labels=("worker", "code")
    )
    for name, stats in up.items():
        for key, count in stats.requests.items():
            requests.add_metric((name, *key.split(" ")), count)
        for code, count in stats.rejected.items():
            rejected.add_metric((name, code), count)
    yield requests
    yield rejected
    for field, metric, help_ in _COUNTERS:
        yield _counter(metric, help_, {(name,): getattr(stats, field) for name, stats in up.items()}, ("worker",))
    for field, metric, help_ in _GAUGES:
        yield _gauge(metric, help_, {(name,): getattr(stats, field) for name, stats in up.items()}, ("worker",))
    for field, metric, help_ in _HISTOGRAMS:
        family = HistogramMetricFamily(metric, help_, labels=("worker",))
        for name, stats in up.items():
            found: Histogram = getattr(stats, field)
            family.add_metric((name,), _buckets(found), found.sum)
        yield family


# (field of WorkerStats, metric, help)
_COUNTERS = (
    ("accepted", "foldlog_events_accepted", "Events that were acknowledged."),
    ("body_bytes", "foldlog_body_bytes", "Bytes of request bodies, as sent."),
    ("log_bytes", "foldlog_log_bytes", "Bytes appended to the log."),
    (
        "commit_failures",
        "foldlog_commit_failures",
        "Groups of events that could not be stored; their requests got 503 or 507.",
    ),
    ("segments_sealed", "foldlog_segments_sealed", "Segments that the worker sealed."),
    (
        "segments_displaced",
        "foldlog_segments_displaced",
        "Open segments that somebody renamed or deleted; what was in them is sealed all the same.",
    ),
    (
        "segments_truncated",
        "foldlog_segments_truncated",
        "Open segments that somebody truncated: acknowledged events are gone.",
    ),
)
_GAUGES = (
    ("queue_requests", "foldlog_queue_requests", "Requests that wait for the disk."),
    ("queue_bytes", "foldlog_queue_bytes", "Bytes that wait for the disk."),
    ("connections", "foldlog_connections", "Open connections."),
)
_HISTOGRAMS = (
    ("commit_s", "foldlog_commit_seconds", "Time to store one group: checks, write and sync."),
    ("fsync_s", "foldlog_fsync_seconds", "Time of fdatasync alone."),
    ("group_events", "foldlog_group_events", "Events stored with one sync."),
)


def of_segments(data: DataDirectory, snapshot: Snapshot) -> Iterator[Metric]:
    """How much of the log there is, and how much of it waits for the fold."""
    sealed = sealed_segments(data)
    unfolded = [each for each in sealed if not snapshot.has_folded(each.name)]
    yield _gauge(
        "foldlog_segments",
        "Segments on disk: active ones are open, sealed ones are not, unfolded ones of those are not in the snapshot yet.",
        {("active",): len(active_segments(data)), ("sealed",): len(sealed), ("unfolded",): len(unfolded)},
        ("state",),
    )
    missing = sum(len(sequences) for sequences in snapshot.waiting.values())
    yield _gauge("foldlog_segments_missing", "Gaps in the sequence numbers of folded segments.", {(): missing})
    suspect = sum(not each.checksum.exists() for each in unfolded)
    yield _gauge("foldlog_segments_without_checksum", "Unfolded segments without a checksum.", {(): suspect})


def of_snapshot(data: DataDirectory, snapshot: Snapshot) -> Iterator[Metric]:
    """What the compactor has done."""
    totals, as_of_s = snapshot.totals, epoch_ms(snapshot.as_of) / 1000
    yield _counter("foldlog_events_counted", "Events in the archive and the counters.", {(): totals.counted})
    yield _counter("foldlog_events_duplicate", "Copies of events that were there already.", {(): totals.duplicates})
    yield _counter(
        "foldlog_events_conflicting", "Duplicates that differ from the copy that counts.", {(): totals.conflicts}
    )
    yield _counter(
        "foldlog_lines_quarantined",
        "Log lines that could not be folded or recovered.",
        {(): totals.quarantined + lines_quarantined_by_recovery(data)},
    )
    yield _counter(
        "foldlog_segments_damaged",
        "Folded segments that were not as they had been sealed.",
        {(): totals.damaged_segments},
    )
    yield _counter("foldlog_events_erased", "Events that were erased with their visitor.", {(): totals.erased})
    yield _gauge(
        "foldlog_erasures_pending", "Requests to erase a visitor that are not done.", {(): count_pending(data)}
    )
    yield _gauge("foldlog_snapshot_generation", "The generation of the published snapshot.", {(): snapshot.generation})
    yield _gauge("foldlog_fold_seconds", "How long the last pass took.", {(): snapshot.last_pass.seconds})
    yield _gauge("foldlog_fold_lines", "Lines that the last pass read.", {(): snapshot.last_pass.lines})
    yield _gauge(
        "foldlog_last_pass_age_seconds",
        "Age of the snapshot.",
        {(): max(0.0, now_ms() / 1000 - as_of_s)} if as_of_s else {},
    )
    yield _gauge("foldlog_fold_last_success_timestamp_seconds", "When the snapshot was published.", {(): as_of_s})
    yield _gauge(
        "foldlog_retention_last_success_timestamp_seconds",
        "When retention last ran without being skipped and without holding anything.",
        {(): epoch_ms(snapshot.retention.last_success) / 1000},
    )


def of_retention(data: DataDirectory, snapshot: Snapshot, settings: Settings) -> Iterator[Metric]:
    """How much there is of each kind, how much there may be, and what retention should
    have taken and did not.
    """
    archive = sum(part.bytes for day in snapshot.days.values() for part in day.archive)
    counters = sum(day.counters.bytes for day in snapshot.days.values() if day.counters)
    kept = {"log": sum(file_sizes(data).values()), "archive": archive, "counters": counters}
    limits = {
        "log": settings.log_max_bytes,
        "archive": settings.archive_max_bytes,
        "counters": settings.counters_max_bytes,
    }
    held, over = snapshot.retention.held, snapshot.retention.over_limit
    for name, help_, values in (
        ("foldlog_data_bytes", "Bytes of log, archive and counters.", kept),
        ("foldlog_data_limit_bytes", "The limit of these bytes; 0: none.", limits),
        ("foldlog_retention_on_hold", "1 while a deletion waits for a person.", {kind: kind in held for kind in kept}),
        (
            "foldlog_retention_over_limit_bytes",
            "Bytes above a limit that may not go yet.",
            {k: over.get(k, 0) for k in kept},
        ),
    ):
        yield _gauge(name, help_, {(kind,): float(value) for kind, value in values.items()}, ("kind",))


def of_disk(data: DataDirectory, settings: Settings) -> Iterator[Metric]:
    """The room that is left, and what an operator should look at."""
    disk = os.statvfs(data.root)
    yield _gauge("foldlog_disk_free_bytes", "Bytes free for the data directory.", {(): disk.f_bavail * disk.f_frsize})
    yield _gauge(
        "foldlog_disk_reserve_bytes", "Below this many free bytes events are refused.", {(): settings.disk_reserve}
    )
    yield _gauge(
        "foldlog_undeclared_proxy",
        "1 while every request seems to come from one address: a proxy that is not declared.",
        {(): float(warning(data, settings) is not None)},
    )


def _buckets(found: Histogram) -> list[tuple[str, float]]:
    below, buckets = 0, []
    for bound, count in zip((*found.bounds, float("inf")), found.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(below)))
    return buckets


Values = dict[tuple[str, ...], float]


def _gauge(name: str, help_: str, values: Values, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _counter(name: str, help_: str, values: Values, labels: tuple[str, ...] = ()) -> Metric:
    family = CounterMetricFamily(name, help_, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family
