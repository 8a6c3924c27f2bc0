"""Resident memory of the compactor: before it has folded anything, after a fold and at
most during it.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench import fold
from tests.bench.checkout import Checkout, Costs, resident_mib
from tests.bench.compacting import compacting
from tests.bench.figures import Figure

EVENTS = 1_000_000


def costs(checkout: Checkout, root: Path) -> Costs:
    data = fold.fresh(root / "data")
    with compacting(checkout, data) as compactor:
        before = resident_mib([compactor.pid])
        fold.write_segments(data, EVENTS, fold.DAY, version=checkout.line_version())
        compactor.fold(EVENTS)
        compactor.idle()
        after, most = (resident_mib([compactor.pid], field) for field in ("VmRSS:", "VmHWM:"))
    return {
        "compactor that has folded nothing: resident, MiB": before,
        f"compactor after {EVENTS:,} events: resident, MiB": after,
        "… at most during that, MiB": most,
    }


def figures(found: Costs) -> list[Figure]:
    return [Figure(what, mib, "{:,.0f} MiB", less_is_better=True) for what, mib in found.items()]
