"""Funnels over a month: what a question of three steps costs, within days and within a
visit.

The events are those of `reports.py`, of some 120,000 visitors a day. Where fewer days
are made than asked for, copies of the made days stand for those before them: of a week,
so that visitors come back as they do in it. A question is asked in this process; its
wall time says little on a busy machine, so that its processor time is shown, too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec

from reports.kinds import parse_question
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day, Part, Snapshot, encode_snapshot
from tests.bench.reports import EVENTS_OF_DAY, make_month
from tests.bench.visits import LAST_DAY, MEMORY, Cost, measured

# How many events match was counted: of three kinds, with one of 5,000 paths each. None
# of a bot does, and none without a visitor.
FUNNELS = {
    "4% of the events match": "path==/articles/0;;path==/articles/100;;event==signup;path==/articles/200",
    "7% of the events match": "path=~/articles/10*;;path=~/articles/20*;;event==signup;path=~/articles/2*",
    "46% of the events match": "path=~/articles/1*;;path=~/articles/2*;;event==signup",
    "69% of the events match": "event==pageview;;event==signup;;path=~/articles/2*",
}


def repeat_days(data: DataDirectory, days: int) -> None:
    """Copies of the made days, as those before them, as many as there are to be."""
    snapshot = load_snapshot(data)
    made = sorted(snapshot.days)
    added: dict[date, Day] = {}
    with closing(duckdb.connect()) as database:
        for back in range(len(made), days):
            of = made[-1 - back % len(made)]
            day = LAST_DAY - timedelta(days=back)
            parts = tuple(_moved(database, data, of, day, part) for part in snapshot.days[of].archive)
            added[day] = msgspec.structs.replace(snapshot.days[of], archive=parts, ids=(), counters=())
    after = msgspec.structs.replace(snapshot, days={**added, **snapshot.days})
    data.snapshot.write_bytes(encode_snapshot(after))


def _moved(database: duckdb.DuckDBPyConnection, data: DataDirectory, made: date, day: date, part: Part) -> Part:
    path = data.part("archive", day, part.generation)
    path.parent.mkdir(parents=True, exist_ok=True)
    moved = ", ".join(f"{name} - INTERVAL {(made - day).days} DAYS AS {name}" for name in ("time", "received"))
    rows = f"SELECT * REPLACE ({moved}) FROM read_parquet('{data.part('archive', made, part.generation)}')"
    database.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
    content = path.read_bytes()
    return Part(part.generation, part.rows, len(content), hashlib.sha256(content).hexdigest(), part.version)


def ask(database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, **asked: str) -> tuple[Cost, str]:
    query = parse_question({"kind": "funnel", **asked}, datetime.now(UTC), "UTC")
    answers: list[dict[str, object]] = []
    cost = measured(lambda: answers.append(make_report(database, data, snapshot, query)))
    steps = answers[0]["steps"]
    assert isinstance(steps, list)
    return cost, " → ".join(str(step["visitors"]) for step in steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--made", type=int, default=7, help="days of which the events are made")
    parser.add_argument("--events", type=int, default=EVENTS_OF_DAY)
    parser.add_argument("--window", action="append", help="7d unless given; may be repeated")
    parser.add_argument("--kept", type=Path, help="a directory in which the data stay for the next run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        data = DataDirectory((given.kept or Path(place)) / "data")
        if not data.snapshot.exists():
            make_month(data, given.made, given.events).close()
            repeat_days(data, given.days)
        run(data, given.window or ["7d"])


def run(data: DataDirectory, windows: list[str]) -> None:
    snapshot = load_snapshot(data)
    events = sum(part.rows for kept in snapshot.days.values() for part in kept.archive)
    span = {"from": str(min(snapshot.days)), "to": str(max(snapshot.days))}
    print(f"{len(snapshot.days)} days, {events} events, load {os.getloadavg()[0]:.0f}")
    with own_spill(data) as spill, closing(connect(MEMORY, 2, spill)) as database:
        for window in windows:
            for name, steps in FUNNELS.items():
                cost, reached = ask(database, data, snapshot, **span, steps=steps, window=window)
                print(f"{window}, {name}: {cost}; {reached}", flush=True)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"resident at most {most} MiB, with the making of data where they were made")


if __name__ == "__main__":
    main()
