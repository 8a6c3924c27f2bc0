"""Minutes in which nothing comes: what a pass costs that finds nothing, and what the
compactor writes meanwhile.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench import fold
from tests.bench.checkout import Checkout, Costs, run
from tests.bench.compacting import compacting
from tests.bench.figures import Figure

EVENTS = 2_000
PASSES = 60
WANTED_MS = 20.0


def costs(checkout: Checkout, root: Path) -> Costs:
    data = fold.fresh(root / "data")
    fold.write_segments(data, EVENTS, fold.DAY, version=checkout.line_version())
    run(checkout, data.root, ["compact", "--once"])
    with compacting(checkout, data, FOLDLOG_FOLD_INTERVAL="1") as compactor:
        compactor.scheduled(3)
        before, blocks_before = compactor.written_bytes(), compactor.block_bytes()
        seconds = compactor.scheduled(PASSES)
        written, blocks = compactor.written_bytes() - before, compactor.block_bytes() - blocks_before
    return {
        "a pass that finds nothing, and a second of waiting: CPU ms": seconds / PASSES * 1000,
        f"bytes that {PASSES} such passes write": written,
        "blocks of the file system for their mark, bytes": blocks,
    }


def figures(found: Costs) -> list[Figure]:
    (pass_ms, written, blocks), (what, of, block) = found.values(), found
    return [
        Figure(what, pass_ms, "{:.1f} ms", WANTED_MS, less_is_better=True),
        Figure(of, written, "{:,.0f}", 0, less_is_better=True),
        Figure(block, blocks, "{:,.0f}", less_is_better=True),
    ]
