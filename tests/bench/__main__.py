"""`make bench`: the table of docs/performance.md in Markdown, taken in one run and
compared with the last one kept in git.

Each part stops with an error when what it measured did not also happen: what was
acknowledged must be counted, each different event once. All parts together take more
than an hour on two cores, half of it to make what is measured. A ratio that is worse
than the last one by more than a tenth is marked `slower`; absolute figures depend on
the machine, their change is shown only. `--keep` keeps the figures of this run in
tests/bench/last.json, to be committed with the change that moved them.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

from tests.bench import (
    against,
    colliding,
    counters,
    flooding,
    fold,
    growing,
    idle,
    ingest,
    isolation,
    latency,
    memory,
    reports,
    resident,
    sizes,
    unfiltered,
)
from tests.bench.checkout import THIS
from tests.bench.figures import HEAD, Figure, keep, load_last, row

FOLD_EVENTS = 1_000_000
LARGE_EVENTS = 10_000_000
HISTORY_DAYS = 730
HISTORY_EVENTS = 2_000
NEW_EVENTS = 100_000


def main() -> None:
    given = options()
    # Told to end, it ends what it started and removes what it wrote, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if given.against:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as root:
            against.compare(given.against, given.only or [*against.PARTS], given.pairs, Path(root).resolve())
        return
    last, figures = load_last(), []
    print(HEAD, flush=True)
    for name in given.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as root:
            for figure in PARTS[name](Path(root)):
                figures.append(figure)
                print(row(figure, last), flush=True)
    if given.keep:
        keep(figures)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"some parts only: {', '.join(PARTS)}")
    parser.add_argument("--keep", action="store_true", help="keep the figures in tests/bench/last.json")
    only = f"CPU as a ratio to that of another checkout, in parts: {', '.join(against.PARTS)}"
    parser.add_argument("--against", type=Path, metavar="PATH", help=only)
    parser.add_argument("--pairs", type=int, default=15, help="how often both are measured with --against (15)")
    given = parser.parse_args()
    known = against.PARTS if given.against else PARTS
    if unknown := set(given.only or []) - set(known):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(known)}")
    return given


def single_events(root: Path) -> list[Figure]:
    return ingest.single(root, ingest.Size())


def batches(root: Path) -> list[Figure]:
    return ingest.batches(root, ingest.Size())


def databases(root: Path) -> list[Figure]:
    return ingest.databases(root, ingest.Size(rounds=5, single=5_000))


def half_of_maximum(root: Path) -> list[Figure]:
    found = latency.half_of_maximum(root)
    return [
        Figure("`serve`: single events a second, at most", found.most, "{:,.0f}"),
        Figure(
            "`serve` at half of that, open loop: p99",
            found.p99,
            "{:.1f} ms",
            latency.WANTED_P99_MS,
            less_is_better=True,
        ),
        Figure("`serve` at half of that, open loop: p99.9", found.p999, "{:.1f} ms", less_is_better=True),
    ]


def isolated(root: Path) -> list[Figure]:
    found = isolation.compare(root)
    ratios = {"a fold": found.folding, "heavy reports": found.reporting}
    return [
        Figure(
            f"p99 of events during {what} / idle",
            value,
            "{:.2f}",
            isolation.WANTED_RATIO,
            less_is_better=True,
            is_ratio=True,
        )
        for what, value in ratios.items()
    ]


def one_worker(root: Path) -> list[Figure]:
    found = memory.one_worker(root)
    growth = f"memory of one worker over {found.events:,} events: growth after warm-up"
    return [
        Figure(growth, found.growth, "{:.1%}", memory.WANTED_GROWTH, less_is_better=True),
        Figure("memory of one worker: at most", found.highest_mib, "{:,.0f} MiB", less_is_better=True),
    ]


def folding(root: Path, events: int = FOLD_EVENTS, rounds: int = 3) -> list[Figure]:
    """All dimensions, dedupe, both kinds of part."""
    seconds, peaks, floors = [], [], []
    for round_ in range(rounds):
        data = fold.fresh(root / f"fold-{round_}")
        different = fold.write_segments(data, events, fold.DAY)
        floors.append(fold.parse_seconds(data.root))
        result = fold.measure(data.root)
        if result["counted"] != different:
            raise AssertionError(f"{different} events were written, {result['counted']} are counted")
        seconds.append(result["seconds"])
        peaks.append(result["peak_mib"])
    share = ingest.ratio(floors, seconds)
    return [
        Figure(f"fold of {events:,} events / parsing alone", share, wanted=0.15, is_ratio=True),
        Figure(f"fold of {events:,} events: events a second", events / statistics.median(seconds), "{:,.0f}"),
        Figure(f"fold of {events:,} events: peak memory", max(peaks), "{:,.0f} MiB", less_is_better=True),
    ]


def large_fold(root: Path, events: int = LARGE_EVENTS) -> list[Figure]:
    """One day of 1,000,000 visitors and 100,000 paths, which is more than
    FOLDLOG_MAX_VALUES.
    """
    data = fold.fresh(root / "large")
    piece = min(events, 500_000)
    different = sum(
        fold.write_segments(data, piece, fold.DAY, seed=seed, visitors=1_000_000, paths=100_000)
        for seed in range(events // piece)
    )
    result = fold.measure(data.root)
    if result["counted"] != different:
        raise AssertionError(f"{different} events were written, {result['counted']} are counted")
    what = f"fold of {events:,} events of 1,000,000 visitors and 100,000 paths"
    return [
        Figure(f"{what}: peak memory", result["peak_mib"], "{:,.0f} MiB", 512, less_is_better=True),
        Figure(f"{what}: events a second", events / result["seconds"], "{:,.0f}"),
    ]


def history(root: Path, days: int = HISTORY_DAYS, events: int = NEW_EVENTS) -> list[Figure]:
    old = fold.fresh(root / "history")
    fold.make_history(old, days, HISTORY_EVENTS)
    ratios = []
    for round_ in range(5):
        new = fold.fresh(root / f"empty-{round_}")
        fold.write_segments(new, events, fold.DAY, seed=round_)
        on_none = fold.measure(new.root)["seconds"]
        # Another day each time, so that every round meets the same: a year behind it
        # and nothing of its own.
        fold.write_segments(old, events, fold.DAY + fold.days(round_ * 4), seed=round_)
        ratios.append(fold.measure(old.root)["seconds"] / on_none)
    what = f"fold of {events:,} new events on {days} days / on none"
    return [Figure(what, statistics.median(ratios), wanted=1.1, less_is_better=True, is_ratio=True)]


def month(root: Path) -> list[Figure]:
    found = reports.over_a_month(root)
    of = f"{reports.DAYS} days of {reports.EVENTS_OF_DAY:,} events"
    quick_ms = found.quick_p95_s * 1000
    return [
        Figure(
            f"top paths of {of}, from counters: p95",
            quick_ms,
            "{:,.0f} ms",
            reports.WANTED_QUICK_MS,
            less_is_better=True,
        ),
        Figure(
            "the same by event and country, exact: median",
            found.exact_s,
            "{:.2f} s",
            reports.WANTED_EXACT_S,
            less_is_better=True,
        ),
        Figure("the same of a country with 7 of 16 visitors", found.largest_s, "{:.2f} s", less_is_better=True),
        Figure(
            f"bytes of an event in the archive, {of}",
            found.bytes_of_event,
            "{:.1f}",
            reports.WANTED_BYTES,
            less_is_better=True,
        ),
    ]


def stored(root: Path) -> list[Figure]:
    found = sizes.of_an_event(root)
    return [
        Figure("bytes of an event in the log", found.log, "{:.0f}", less_is_better=True),
        Figure("bytes of an event in the log, gzip", found.gzip, "{:.1f}", less_is_better=True),
        Figure(
            "bytes of an event in the archive, one fold",
            found.archive,
            "{:.1f}",
            reports.WANTED_BYTES,
            less_is_better=True,
        ),
    ]


def starting(root: Path) -> list[Figure]:
    return [
        Figure(what, value, "{:.2f} s" if what.endswith("CPU s") else "{:,.0f} MiB", less_is_better=True)
        for what, value in against.start(THIS, root).items()
    ]


# Those that `--against` has as well.
COMPARED: dict[str, ModuleType] = {
    "growing": growing,
    "idle": idle,
    "rss": resident,
    "floods": flooding,
    "unfiltered": unfiltered,
    "colliding": colliding,
    "counters": counters,
}


def of_this_checkout(part: ModuleType, root: Path) -> list[Figure]:
    found: list[Figure] = part.figures(part.costs(THIS, root))
    return found


PARTS: dict[str, Callable[[Path], list[Figure]]] = {
    "single": single_events,
    "batches": batches,
    "databases": databases,
    "latency": half_of_maximum,
    "fold": folding,
    "large": large_fold,
    "history": history,
    "reports": month,
    "sizes": stored,
    "isolation": isolated,
    "memory": one_worker,
    "start": starting,
    **{name: partial(of_this_checkout, part) for name, part in COMPARED.items()},
}

if __name__ == "__main__":
    main()
