"""The panels of the dashboard over twelve months with a filter: each asked alone, and
all in one question.

The events are those of `reports.py`: some days are made, and copies of them, with
visitors of their own, stand for the others. Questions are asked in this process, as a
reader answers them; wall time says little on a busy machine, so that processor time is
shown, too. The answers are compared with each other.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from reports.breakdowns import answer_of
from reports.kinds import parse_question
from reports.report import source_of
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day, Part, encode_snapshot
from tests.bench.reports import make_month
from tests.bench.visits import measured

LAST_DAY = date(2026, 11, 22)
MEMORY = 256 << 20
THREADS = 2
MONTH_EVENTS = 1_000_000
# What the page shows at first, in the order of its panels.
PANELS = ("path", "source", "country", "device", "event")


def make_year(data: DataDirectory, days: int, made: int, month_events: int) -> None:
    make_month(data, made + 1, month_events // 30).close()
    snapshot = load_snapshot(data)
    patterns = sorted(snapshot.days)[:-1]  # the last one is not merged
    added: dict[date, Day] = {}
    with closing(duckdb.connect()) as database:
        for number in range(days - len(snapshot.days)):
            day, pattern = min(snapshot.days) - timedelta(days=number + 1), patterns[number % made]
            kept = snapshot.days[pattern]
            parts = tuple(_copied(database, data, pattern, day, each) for each in kept.archive)
            added[day] = msgspec.structs.replace(kept, archive=parts, ids=(), counters=(), sessions=(), visits=())
    data.snapshot.write_bytes(encode_snapshot(msgspec.structs.replace(snapshot, days={**added, **snapshot.days})))


def _copied(database: duckdb.DuckDBPyConnection, data: DataDirectory, made: date, day: date, part: Part) -> Part:
    """A third of the visitors of a pattern come again on the days that copy it."""
    path = data.part("archive", day, part.generation)
    path.parent.mkdir(parents=True, exist_ok=True)
    visitor = f"CASE WHEN hash(visitor) % 3 = 0 THEN visitor ELSE left(md5(visitor || '{day}'), 16) END"
    moved = f"{visitor} AS visitor, (time - INTERVAL {(made - day).days} DAYS) AS time"
    rows = f"SELECT * REPLACE ({moved}) FROM read_parquet('{data.part('archive', made, part.generation)}')"
    database.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    content = path.read_bytes()
    return Part(part.generation, part.rows, len(content), hashlib.sha256(content).hexdigest(), part.version)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--made", type=int, default=3, help="days of which the events are made")
    parser.add_argument("--events", type=int, default=MONTH_EVENTS, help="events of a month")
    parser.add_argument("--filter", action="append", help="what is asked; default: three of them")
    parser.add_argument("--data", type=Path, help="where the events are made, or have been")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        data = DataDirectory(given.data or Path(place) / "data")
        if not data.snapshot.exists():
            make_year(data, given.days, given.made, given.events)
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
