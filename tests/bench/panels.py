"""The panels of the dashboard over twelve months with a filter: each asked alone, and
all in one question.

The events are those of `reports.py`: some days are made, and copies of them, with
visitors of their own, stand for the others. Questions are asked in this process, as a
reader answers them; wall time says little on a busy machine, so that processor time is
shown, too. The answers are compared with each other.
"""

from __future__ import annotations

import argparse
import resource
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from reports.breakdowns import answer_of
from reports.kinds import parse_question
from reports.report import source_of
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.bench.visits import measured
from tests.bench.year import LAST_DAY, asked_year

MEMORY = 256 << 20
THREADS = 2
# What the page shows at first, in the order of its panels.
PANELS = ("path", "source", "country", "device", "event")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--filter", action="append", help="what is asked; default: three of them")
    with asked_year(parser, ["archive"]) as (given, data, _):
        for filter_ in given.filter or ("country==FR", "country==DE", "event==pageview"):
            for days in (28, given.days):
                for measures in ("events", "events,visitors"):
                    compare(data, days, filter_, measures)


def compare(data: DataDirectory, days: int, filter_: str, measures: str) -> None:
    """One line: how long the panels take one after the other, and in one question."""
    snapshot = load_snapshot(data)
    asked = {"from": str(LAST_DAY - timedelta(days=days - 1)), "to": str(LAST_DAY), "tz": "UTC", "limit": "9"}
    asked |= {"filter": filter_, "measures": measures}

    def answer(database: duckdb.DuckDBPyConnection, **more: str) -> dict[str, Any]:
        query = parse_question({**asked, **more}, datetime.now(UTC), "UTC")
        return answer_of(database, source_of(data, snapshot, query), query, 1 << 40)

    with own_spill(data) as spill, closing(connect(MEMORY, THREADS, spill)) as database:
        answer(database, by="path")  # the files are in the cache, and their digests known
        alone: list[dict[str, Any]] = []
        one: list[dict[str, Any]] = []
        cost_alone = measured(lambda: alone.extend(answer(database, by=name) for name in PANELS))
        cost_one = measured(lambda: one.append(answer(database, kind="breakdowns", by=",".join(PANELS))))
    for single, found in zip(alone, one[0]["breakdowns"], strict=True):
        if (single["rows"], single["total"]) != (found["rows"], found["total"]):
            raise AssertionError(f"by {single['by']} the answers differ")
    events = alone[0]["total"]["events"]
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{days} days, {filter_}, {events} events match, {measures}: "
        f"each panel alone {cost_alone}, all in one {cost_one}; at most {peak_mib} MiB"
    )


if __name__ == "__main__":
    main()
