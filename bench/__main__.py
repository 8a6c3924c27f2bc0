"""`make bench`: every figure of docs/performance.md, alternating and as the median of several rounds, in one run."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import bench.fold as fold
from bench.processes import cpu_seconds, load, null_handler, worker
from compactor.schedule import compact_once
from shared.layout import DataDirectory
from shared.settings import Settings
from shared.snapshot import load as load_snapshot

ROUNDS = 7
SINGLE_REQUESTS = 15_000
BATCH_REQUESTS = 2_500
BATCH_EVENTS = 100
FOLD_EVENTS = 1_000_000
HISTORY_DAYS = 365
HISTORY_EVENTS = 2_000
NEW_EVENTS = 100_000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
        ingest(Path(root) / "ingest")
        folding(Path(root))
        history(Path(root))


def show(what: str, figure: str, target: str) -> None:
    print(f"{what:<64} {figure:>24}   {target}", flush=True)


def ingest(root: Path) -> None:
    """Single events against the null handler, and batches; every acknowledged event must then be counted."""
    root.mkdir()
    ratios, rates, batch_rates, cpu = [], [], [], []
    sent = 0
    with null_handler() as (_, null_port), worker(root) as (process, port):
        load(null_port, 3000, 1, 32, 98)
        load(port, 3000, 1, 32, 99)
        sent += 3000
        for round_ in range(ROUNDS):
            floor = load(null_port, SINGLE_REQUESTS, 1, 32, round_)
            ours = load(port, SINGLE_REQUESTS, 1, 32, 100 + round_)
            ratios.append(floor["seconds"] / ours["seconds"])
            rates.append(SINGLE_REQUESTS / ours["seconds"])
            before = cpu_seconds(process.pid)
            batch = load(port, BATCH_REQUESTS, BATCH_EVENTS, 8, 200 + round_)
            cpu.append((cpu_seconds(process.pid) - before) / (BATCH_REQUESTS * BATCH_EVENTS) * 1e6)
            batch_rates.append(BATCH_REQUESTS * BATCH_EVENTS / batch["seconds"])
            sent += SINGLE_REQUESTS + BATCH_REQUESTS * BATCH_EVENTS
    compact_once(DataDirectory(root), Settings(data_dir=root), fold.Quiet())
    counted = load_snapshot(DataDirectory(root)).totals.counted
    if counted != sent:
        raise AssertionError(f"{sent} events were acknowledged, {counted} are counted")
    ratio = statistics.median(ratios)
    show("single-event POSTs, 32 connections, durable / null handler", f"{ratio:.2f}", "at least 0.6")
    show("  the same, requests/s", f"{statistics.median(rates):,.0f}", "")
    show("batches of 100, durable events/s, one worker", f"{statistics.median(batch_rates):,.0f}", "at least 150,000")
    show("  CPU of the worker per event", f"{statistics.median(cpu):.2f} µs", "")


def folding(root: Path) -> None:
    """1,000,000 events: all dimensions, dedupe, both kinds of part."""
    seconds, peaks, floors = [], [], []
    for round_ in range(3):
        data = fold.fresh(root / f"fold-{round_}")
        different = fold.write_segments(data, FOLD_EVENTS, fold.DAY)
        floors.append(fold.parse_seconds(data.root))
        result = fold.measure(data.root)
        if result["counted"] != different:
            raise AssertionError(f"{different} events were written, {result['counted']} are counted")
        seconds.append(result["seconds"])
        peaks.append(result["peak_mib"])
    rate = FOLD_EVENTS / statistics.median(seconds)
    show("fold of 1,000,000 events, events/s", f"{rate:,.0f}", "at least 150,000")
    show("  peak memory of the process", f"{max(peaks):,.0f} MiB", "under 1,024")
    share = statistics.median(floors) / statistics.median(seconds)
    show("  parsing alone in the same engine / fold", f"{share:.2f}", "")


def history(root: Path) -> None:
    """100,000 new events on top of a year, against the same on an empty directory."""
    old = fold.fresh(root / "history")
    fold.make_history(old, HISTORY_DAYS, HISTORY_EVENTS)
    ratios = []
    for round_ in range(5):
        new = fold.fresh(root / f"empty-{round_}")
        fold.write_segments(new, NEW_EVENTS, fold.DAY, seed=round_)
        on_none = fold.measure(new.root)["seconds"]
        # Another day each time, so that every round meets the same: a year behind it and nothing of its own.
        fold.write_segments(old, NEW_EVENTS, fold.DAY + fold.days(round_ * 4), seed=round_)
        ratios.append(fold.measure(old.root)["seconds"] / on_none)
    figure = f"{statistics.median(ratios):.2f}"
    show("fold of 100,000 new events on 365 days / on none", figure, "at most 1.2")


if __name__ == "__main__":
    main()
