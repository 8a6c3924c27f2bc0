"""The metric families of GET /metrics; docs/metrics.md lists them.

Each worker reports its own stats (ingest/observe/peers.py) under a label `worker`, so
that a restart is visible as a counter reset. The compactor's numbers come from the
snapshot: the compactor needs no port, and its numbers survive a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.disk.layout import DataDirectory
from shared.disk.room import least_room
from shared.erasures import count_pending
from shared.generations.last_look import last_pass_ms, last_retention
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.peers import query_workers
from shared.segments.quarantine import lines_quarantined_by_recovery
from shared.segments.sealed import active_segments, file_sizes, sealed_segments
from shared.settings import Settings
from shared.status import missing_segments
from shared.stores.condition import StoreStatus, store_status
from shared.timestamps import epoch_ms, now_ms
from shared.undeclared_proxy import warning
from shared.worker_stats import Histogram, WorkerStats

Workers = dict[str, WorkerStats | None]


def render(data: DataDirectory, settings: Settings) -> bytes:
    """The Prometheus text. Reads the snapshot, lists the log, queries all workers."""
    registry = CollectorRegistry()
    registry.register(_Everything(data, settings))
    return generate_latest(registry)


class _Everything(Collector):
    def __init__(self, data: DataDirectory, settings: Settings) -> None:
        self._data = data
        self._settings = settings

    def describe(self) -> Iterator[Metric]:
        return iter(())  # otherwise registering collects everything once, for the names

    def collect(self) -> Iterator[Metric]:
        data, settings = self._data, self._settings
        snapshot = load_snapshot(data)
        yield _gauge("foldlog_build_info", "The running version.", {(version("foldlog"),): 1}, ("version",))
        yield from workers_families(query_workers(data))
        yield from segments_families(data, snapshot)
        yield from snapshot_families(data, snapshot)
        yield from retention_families(data, snapshot, settings)
        yield from store_families(store_status(data, settings, snapshot))
        yield from disk_families(data, settings)


def workers_families(workers: Workers) -> Iterator[Metric]:
    """Counters of each worker since it started, and its queue now."""
    up = {name: stats for name, stats in workers.items() if stats is not None}
    yield _gauge(
        "foldlog_worker_up",
        "1 if the worker answers, 0 if it is dead or stuck.",
        {(name,): float(name in up) for name in workers},
        ("worker",),
    )
    requests = CounterMetricFamily(
        "foldlog_requests",
        "Responses by route, HTTP status and problem code.",
        labels=("worker", "route", "status", "code"),
    )
    rejected = CounterMetricFamily("foldlog_events_rejected", "Rejected events by code.", labels=("worker", "code"))
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
    ("accepted", "foldlog_events_accepted", "Acknowledged events."),
    ("body_bytes", "foldlog_body_bytes", "Bytes of request bodies, as sent."),
    ("log_bytes", "foldlog_log_bytes", "Bytes appended to the log."),
    (
        "commit_failures",
        "foldlog_commit_failures",
        "Commits that failed; their requests got 503 or 507.",
    ),
    ("segments_sealed", "foldlog_segments_sealed", "Segments sealed by the worker."),
    (
        "segments_displaced",
        "foldlog_segments_displaced",
        "Active segments renamed, replaced or deleted by another program; their lines were recovered.",
    ),
    (
        "segments_truncated",
        "foldlog_segments_truncated",
        "Active segments truncated by another program; acknowledged events were lost.",
    ),
    (
        "rate_store_failures",
        "foldlog_rate_store_failures",
        "Calls of FOLDLOG_RATE_STORE that failed or were not answered in time.",
    ),
    (
        "rate_store_bypassed",
        "foldlog_rate_store_bypassed",
        "Requests that the table of this host alone counted, because FOLDLOG_RATE_STORE did not answer.",
    ),
)
_GAUGES = (
    ("queue_requests", "foldlog_queue_requests", "Requests waiting for a commit."),
    ("queue_bytes", "foldlog_queue_bytes", "Bytes waiting for a commit."),
    ("connections", "foldlog_connections", "Open connections."),
    ("readers", "foldlog_readers", "Reports and exports that are being made."),
    ("rate_store_up", "foldlog_rate_store_up", "0 while FOLDLOG_RATE_STORE does not answer, else 1."),
)
_HISTOGRAMS = (
    ("commit_s", "foldlog_commit_seconds", "Duration of a commit: checks, write and sync."),
    ("fsync_s", "foldlog_fsync_seconds", "Duration of fdatasync alone."),
    ("group_events", "foldlog_group_events", "Events per commit."),
)


def segments_families(data: DataDirectory, snapshot: Snapshot) -> Iterator[Metric]:
    """Size of the log, and how much of it is not folded."""
    sealed = sealed_segments(data)
    unfolded = [each for each in sealed if not snapshot.has_passed(each.name)]
    yield _gauge(
        "foldlog_segments",
        "Segments on disk: active, sealed, and sealed but not folded yet (unfolded).",
        {("active",): len(active_segments(data)), ("sealed",): len(sealed), ("unfolded",): len(unfolded)},
        ("state",),
    )
    missing = sum(len(sequences) for sequences in missing_segments(snapshot, sealed).values())
    yield _gauge("foldlog_segments_missing", "Gaps in the sequence numbers of folded segments.", {(): missing})
    suspect = sum(not each.checksum.exists() for each in unfolded)
    yield _gauge("foldlog_segments_without_checksum", "Unfolded segments without a checksum.", {(): suspect})


def snapshot_families(data: DataDirectory, snapshot: Snapshot) -> Iterator[Metric]:
    """Totals of the snapshot and of the last pass."""
    totals, last_pass_s = snapshot.totals, last_pass_ms(data, snapshot) / 1000
    yield _counter("foldlog_events_counted", "Events in the archive and the counters.", {(): totals.counted})
    yield _counter("foldlog_events_duplicate", "Events whose id was counted already.", {(): totals.duplicates})
    yield _counter(
        "foldlog_events_conflicting", "Duplicates that differ from the event that was counted.", {(): totals.conflicts}
    )
    yield _counter(
        "foldlog_lines_quarantined",
        "Log lines that could not be folded or recovered.",
        {(): totals.quarantined + lines_quarantined_by_recovery(data)},
    )
    yield _counter(
        "foldlog_segments_damaged",
        "Folded segments that did not match their checksum.",
        {(): totals.damaged_segments},
    )
    yield _gauge(
        "foldlog_events_set_aside",
        "Events that could not be folded, and stay in the log.",
        {(): totals.set_aside},
    )
    yield _gauge(
        "foldlog_day_merges_failed",
        "Days that could not be merged in three tries.",
        {(): len(snapshot.unmerged_days())},
    )
    yield _counter("foldlog_events_erased", "Events erased with their visitor.", {(): totals.erased})
    yield _gauge(
        "foldlog_erasures_pending", "Erasures that are requested and not completed.", {(): count_pending(data)}
    )
    yield _gauge("foldlog_snapshot_generation", "The generation of the published snapshot.", {(): snapshot.generation})
    yield _gauge("foldlog_fold_seconds", "Duration of the last pass.", {(): snapshot.last_pass.seconds})
    yield _gauge("foldlog_fold_lines", "Lines read by the last pass.", {(): snapshot.last_pass.lines})
    yield _gauge(
        "foldlog_last_pass_age_seconds",
        "Time since the last pass ended, whether it found something or not.",
        {(): max(0.0, now_ms() / 1000 - last_pass_s)} if last_pass_s else {},
    )
    yield _gauge("foldlog_fold_last_success_timestamp_seconds", "When the last pass ended.", {(): last_pass_s})
    yield _gauge(
        "foldlog_retention_last_success_timestamp_seconds",
        "When retention last ran without a skip and without a hold.",
        {(): epoch_ms(last_retention(data, snapshot).last_success) / 1000},
    )


def retention_families(data: DataDirectory, snapshot: Snapshot, settings: Settings) -> Iterator[Metric]:
    """Size and limit of each kind of data, and what retention could not delete."""
    archive = sum(part.bytes for day in snapshot.days.values() for part in day.archive)
    counters = sum(part.bytes for day in snapshot.days.values() for part in day.counters)
    kept = {"log": sum(file_sizes(data).values()), "archive": archive, "counters": counters}
    limits = {
        "log": settings.log_max_bytes,
        "archive": settings.archive_max_bytes,
        "counters": settings.counters_max_bytes,
    }
    held, over = snapshot.retention.on_hold, snapshot.retention.over_limit
    for name, help_, values in (
        ("foldlog_data_bytes", "Bytes of log, archive and counters.", kept),
        ("foldlog_data_limit_bytes", "Limit of these bytes; 0: no limit.", limits),
        (
            "foldlog_retention_on_hold",
            "1 while a deletion waits for confirmation.",
            {kind: kind in held for kind in kept},
        ),
        (
            "foldlog_retention_over_limit_bytes",
            "Bytes over the limit that may not be deleted yet.",
            {k: over.get(k, 0) for k in kept},
        ),
    ):
        yield _gauge(name, help_, {(kind,): float(value) for kind, value in values.items()}, ("kind",))


def store_families(store: StoreStatus | None) -> Iterator[Metric]:
    """What the store of FOLDLOG_STORE lacks; no values without one."""
    for name, help_, field in (
        ("foldlog_store_published_generation", "The generation that the store holds of this host.", "generation"),
        (
            "foldlog_store_lag_seconds",
            "For how long the store has lacked a generation that is here; 0: it lacks none.",
            "lag_s",
        ),
        (
            "foldlog_store_publishes_failed",
            "Tries to publish that failed since the last one that succeeded.",
            "failures",
        ),
        ("foldlog_store_refused", "1 while the store takes nothing of this host.", "refused"),
    ):
        yield _gauge(name, help_, {} if store is None else {(): float(getattr(store, field))})


def disk_families(data: DataDirectory, settings: Settings) -> Iterator[Metric]:
    """Free disk space, and the undeclared proxy."""
    free = least_room(data).free_bytes
    yield _gauge("foldlog_disk_free_bytes", "Bytes free where the data directory has the least.", {(): free})
    yield _gauge(
        "foldlog_disk_reserve_bytes", "Below this many free bytes, events are rejected.", {(): settings.disk_reserve}
    )
    yield _gauge(
        "foldlog_undeclared_proxy",
        "1 while all requests come from one address, as behind an undeclared proxy.",
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
