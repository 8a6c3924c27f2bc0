"""`make bench ARGS="--against PATH"`: what this checkout costs, as a ratio to another.

Both are used by their public interface only, the command and HTTP, so that the other
one may be laid out in any way. Each figure is taken in pairs whose order alternates;
the median of the ratios counts, because machines differ and so do their hours. Figures
are CPU seconds of all processes concerned, and resident memory.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import colliding, counters, flooding, fold, growing, idle, resident, unfiltered
from tests.bench.checkout import (
    THIS,
    Checkout,
    Costs,
    ask,
    cpu_seconds,
    family,
    resident_mib,
    run,
    started,
)
from tests.bench.processes import CLOCK_TICKS, load

HEAD = "| what | this | the other | ratio |\n|---|---|---|---|"
FOLD_EVENTS = 100_000
SINGLE_REQUESTS = 5_000
BATCH_REQUESTS = 3_000
BATCH_EVENTS = 100
CONNECTIONS = 16
REPORTS = ("", "&by=path", "&by=path&interval=hour", "&by=country&filter=event==signup", "&by=event&interval=day")


Part = Callable[[Checkout, Path], Costs]


def compare(other: Path, parts: list[str], pairs: int, root: Path) -> None:
    """Prints a line of the table for each figure of these parts."""
    both = (THIS, Checkout(other.resolve()))
    print(HEAD, flush=True)
    for name in parts:
        taken: tuple[list[Costs], list[Costs]] = ([], [])
        for number in range(min(pairs, PAIRS_AT_MOST.get(name, pairs))):
            for which in (0, 1) if number % 2 else (1, 0):
                place = root / f"{name}-{number}-{which}"
                place.mkdir()
                taken[which].append(PARTS[name](both[which], place))
                shutil.rmtree(place)
        print(*rows(*taken), sep="\n", flush=True)


def rows(ours: list[Costs], theirs: list[Costs]) -> Iterator[str]:
    for what in ours[0]:
        pairs = [(one[what], two[what]) for one, two in zip(ours, theirs, strict=True)]
        ratio = statistics.median(one / max(two, 1 / CLOCK_TICKS) for one, two in pairs)
        mine, others = (statistics.median(values) for values in zip(*pairs, strict=True))
        yield f"| {what} | {mine:.2f} | {others:.2f} | {ratio:.3f} (of {len(pairs)}) |"


def commands(checkout: Checkout, root: Path) -> Costs:
    """The cost of a command that does nothing."""
    typed = {"foldlog --version": 0, "foldlog --help": 0, "foldlog srve": 2}
    return {
        f"`{words}`: CPU s": run(checkout, root / "data", words.split()[1:], exit_code)
        for words, exit_code in typed.items()
    }


def start(checkout: Checkout, root: Path) -> Costs:
    with started(checkout, root / "data", "/readyz", "serve") as (pid, port):
        ready_s, ready_mib = cpu_seconds(family(pid)), resident_mib(family(pid))
        ask(port, "/admin/api/report?from=2026-11-22&to=2026-11-22")
        return {
            "`foldlog serve` until /readyz is 200: CPU s": ready_s,
            "… resident, MiB": ready_mib,
            "… resident after a report, MiB": resident_mib(family(pid)),
        }


def single(checkout: Checkout, root: Path) -> Costs:
    return {f"{SINGLE_REQUESTS:,} single events: CPU s": loaded(checkout, root, SINGLE_REQUESTS, 1)}


def batches(checkout: Checkout, root: Path) -> Costs:
    what = f"{BATCH_REQUESTS:,} batches of {BATCH_EVENTS}: CPU s"
    return {what: loaded(checkout, root, BATCH_REQUESTS, BATCH_EVENTS)}


def loaded(checkout: Checkout, root: Path, requests: int, events: int) -> float:
    """CPU seconds of one worker for a load, once it is warm."""
    with started(checkout, root / "data", "/healthz", "ingest") as (pid, port):
        load(port, requests // 5, events, CONNECTIONS, 1)
        before = cpu_seconds([pid])
        load(port, requests, events, CONNECTIONS, 2)
        return cpu_seconds([pid]) - before


def folding(checkout: Checkout, root: Path) -> Costs:
    fold.write_segments(fold.fresh(root / "data"), FOLD_EVENTS, fold.DAY)
    return {f"fold of {FOLD_EVENTS:,} events: CPU s": run(checkout, root / "data", ["compact", "--once"])}


def reports(checkout: Checkout, root: Path) -> Costs:
    fold.write_segments(fold.fresh(root / "data"), FOLD_EVENTS, fold.DAY)
    run(checkout, root / "data", ["compact", "--once"])
    day = fold.DAY.date().isoformat()
    with started(checkout, root / "data", "/readyz", "serve") as (pid, port):
        ask(port, f"/admin/api/report?from={day}&to={day}")
        before = cpu_seconds(family(pid))
        for limit in range(20, 24):  # another question each time: an answer is kept
            for report in REPORTS:
                ask(port, f"/admin/api/report?from={day}&to={day}&limit={limit}{report}")
        return {f"{4 * len(REPORTS)} reports over HTTP: CPU s": cpu_seconds(family(pid)) - before}


PARTS: dict[str, Part] = {
    "commands": commands,
    "start": start,
    "single": single,
    "batches": batches,
    "fold": folding,
    "reports": reports,
    "growing": growing.costs,
    "idle": idle.costs,
    "rss": resident.costs,
    "floods": flooding.costs,
    "unfiltered": unfiltered.costs,
    "colliding": colliding.costs,
    "counters": counters.costs,
}
# What takes minutes, and is itself taken from many passes or has no spread.
PAIRS_AT_MOST = {"growing": 1, "rss": 3, "floods": 1, "unfiltered": 1, "colliding": 1, "counters": 1}
