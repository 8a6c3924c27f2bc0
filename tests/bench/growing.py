"""What a pass costs as its day grows: many passes of few events, with ids that clients
made, on a day that has millions, with more such days before it, and the same passes on
an empty day.
"""

from __future__ import annotations

import statistics
from datetime import timedelta
from pathlib import Path

from shared.segments.sealed import sealed_segments
from tests.bench import fold
from tests.bench.checkout import Checkout, Costs, run
from tests.bench.compacting import compacting, totals
from tests.bench.figures import Figure

DAY_EVENTS = 2_000_000
DAYS_BEFORE = 3
PASSES = 512
PASS_EVENTS = 1_000
WANTED_RATIO = 1.6
_PIECE = 125_000


def costs(checkout: Checkout, root: Path) -> Costs:
    found = {}
    full = f"a day of {DAY_EVENTS:,}, {DAYS_BEFORE} such days before it"
    for name, days in {full: DAYS_BEFORE + 1, "an empty day": 0}.items():
        seconds = passes(checkout, root / f"days-{days}", days)
        what = f"pass of {PASS_EVENTS:,} events on {name}: CPU ms"
        found[f"{what}, median of {PASSES}"] = statistics.median(seconds) * 1000
        found[f"{what}, mean of {PASSES}"] = statistics.fmean(seconds) * 1000
    return found


def passes(checkout: Checkout, root: Path, days: int) -> list[float]:
    """CPU seconds of each pass, after so many days were folded."""
    root.mkdir()
    data, version = fold.fresh(root / "data"), checkout.line_version()
    for back in reversed(range(days)):
        for first in range(0, DAY_EVENTS, _PIECE):
            moment = fold.DAY - timedelta(days=back)
            fold.write_segments(data, min(_PIECE, DAY_EVENTS - first), moment, 1000 * back + first, version=version)
        run(checkout, data.root, ["compact", "--once"])
        for segment in sealed_segments(data):
            segment.path.unlink()
            segment.checksum.unlink()
    with compacting(checkout, data) as compactor:
        counted = before = totals(data).get("counted", 0)
        lines, seconds = totals(data).get("lines", 0), []
        for number in range(PASSES):
            counted += fold.write_segments(data, PASS_EVENTS, fold.DAY, seed=5_000_000 + number, version=version)
            lines += PASS_EVENTS
            seconds.append(compactor.fold(lines))
        if totals(data)["counted"] != counted:
            raise AssertionError(f"{counted - before} events were written, {totals(data)['counted'] - before} counted")
    return seconds


def figures(found: Costs) -> list[Figure]:
    """Of one checkout: how much dearer the large day is."""
    full_median, full_mean, empty_median, empty_mean = found.values()
    names = list(found)
    ratios = {"median": full_median / empty_median, "mean": full_mean / empty_mean}
    what = names[0].partition(":")[0]
    return [
        *(
            Figure(f"{what} / on an empty day, {of}", ratio, "{:.2f}", WANTED_RATIO, less_is_better=True, is_ratio=True)
            for of, ratio in ratios.items()
        ),
        *(Figure(name, found[name], "{:.0f} ms", less_is_better=True) for name in names),
    ]
