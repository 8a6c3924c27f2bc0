"""`make bench`: the table of docs/performance.md in Markdown, taken in one run and compared with the last one kept in git.

Each part stops with an error when what it measured did not also happen: what was acknowledged must be counted, each different
event once. All parts together take about a quarter of an hour on two cores. A ratio that is worse than the last one by more
than a tenth is marked `slower`; absolute figures depend on the machine, their change is shown and not judged. `--keep` keeps
the figures of this run in bench/last.json, to be committed with the change that moved them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import ingest
from bench.figures import HEAD, Figure, keep, load_last, row

PARTS: dict[str, Callable[[Path], list[Figure]]] = {
    "single": lambda root: ingest.single(root, ingest.Size()),
    "batches": lambda root: ingest.batches(root, ingest.Size()),
    "databases": lambda root: ingest.databases(root, ingest.Size(rounds=5)),
}


def main() -> None:
    given = options()
    last, figures = load_last(), []
    print(HEAD, flush=True)
    for name in given.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as root:
            for figure in PARTS[name](Path(root)):
                figures.append(figure)
                print(row(figure, last), flush=True)
    if given.keep:
        keep(figures)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some parts only: {', '.join(PARTS)}")
    parser.add_argument("--keep", action="store_true", help="keep the figures in bench/last.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
