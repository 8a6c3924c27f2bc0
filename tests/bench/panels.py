"""What the dashboard asks when a filter is clicked, over 28 days and twelve months:
each report asked alone, and all in one question.

The events are those of `reports.py`: some days are made, and copies of them, with
visitors of their own, stand for the others. Questions are asked in this process, as a
reader answers them; wall time says little on a busy machine, so that processor time is
shown, too. The answers are compared with each other.
"""

from __future__ import annotations

import argparse
import json
import resource
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from reports.batch import answer_of
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
PANELS = ("path", "source", "utm_campaign", "country", "device", "event")
OF_VISITS = "visits,views_per_visit,bounce_rate,visit_duration"


def asked_by_page(days: int, *, with_visitors: bool) -> list[dict[str, str]]:
    """The reports that the page asks for at a click; without visitors only events."""
    compare = {"compare": "previous"}
    numbers = f"visitors,{OF_VISITS},value_sum" if with_visitors else "value_sum"
    chart = {"interval": "day" if days <= 92 else "month", "measures": "visitors" if with_visitors else "events"}
    panel = {"measures": "visitors,events" if with_visitors else "events", "limit": "9"}
    return [
        {"measures": "events", **compare},
        {"measures": "events", "event": "pageview", **compare},
        {"measures": numbers, **compare},
        {**chart, **compare},
        *({"by": name, **panel} for name in PANELS),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--filter", action="append", help="what is asked; default: three of them")
    with asked_year(parser, ["archive", "sessions"]) as (given, data, _):
        for filter_ in given.filter or ("country==FR", "country==DE", "event==pageview"):
            for days in (28, given.days):
                for with_visitors in (False, True):
                    compare(data, days, filter_, asked_by_page(days, with_visitors=with_visitors))


def compare(data: DataDirectory, days: int, filter_: str, reports: list[dict[str, str]]) -> None:
    """One line: how long the reports take one after the other, and in one question."""
    snapshot = load_snapshot(data)
    asked = {"from": str(LAST_DAY - timedelta(days=days - 1)), "to": str(LAST_DAY), "tz": "UTC", "filter": filter_}

    def answer(database: duckdb.DuckDBPyConnection, **more: str) -> dict[str, Any]:
        query = parse_question({**asked, **more}, datetime.now(UTC), "UTC")
        return answer_of(database, source_of(data, snapshot, query), query, 1 << 40)

    with own_spill(data) as spill, closing(connect(MEMORY, THREADS, spill)) as database:
        for own in reports:
            answer(database, **own)  # the files are in the cache, and their digests known
        alone: list[dict[str, Any]] = []
        one: list[dict[str, Any]] = []
        cost_alone = measured(lambda: alone.extend(answer(database, **own) for own in reports))
        cost_one = measured(lambda: one.append(answer(database, kind="batch", reports=json.dumps(reports))))
    for own, single, found in zip(reports, alone, one[0]["reports"], strict=True):
        if (single["rows"], single["total"]) != (found["rows"], found["total"]):
            raise AssertionError(f"{own}: the answers differ")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{days} days, {filter_}, {alone[0]['total']['events']} events match, {reports[3]['measures']}: "
        f"each report alone {cost_alone}, all in one {cost_one}; at most {peak_mib} MiB"
    )


if __name__ == "__main__":
    main()
