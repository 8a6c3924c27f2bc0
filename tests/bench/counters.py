"""Bytes that the counters take for an event of a real access log, after its fold and
after the merges of its days.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench import fold
from tests.bench.checkout import ROOT, Checkout, Costs, run
from tests.bench.compacting import compacting, counter_bytes, make_older, snapshot, totals
from tests.bench.figures import Figure

LOG = ROOT / "tests" / "data" / "access.log.gz"
WANTED_BYTES = 4.5


def costs(checkout: Checkout, root: Path, log: Path = LOG) -> Costs:
    data = fold.fresh(root / "data")
    run(checkout, data.root, ["import", "--site", "example.com", str(log)])
    run(checkout, data.root, ["compact", "--once"])
    events = totals(data)["counted"]
    folded = counter_bytes(data) / events
    make_older(data)
    with compacting(checkout, data) as compactor:
        for _ in range(2 * len(snapshot(data)["days"])):
            compactor.idle()
    if totals(data)["counted"] != events:
        raise AssertionError(f"{events} events were counted, {totals(data)['counted']} are after the merges")
    return {
        f"{log.name}, {events:,} events: bytes of counters an event, one fold": folded,
        f"{log.name}: bytes of counters an event, merged": counter_bytes(data) / events,
    }


def figures(found: Costs) -> list[Figure]:
    return [Figure(what, value, "{:.2f}", WANTED_BYTES, less_is_better=True) for what, value in found.items()]
