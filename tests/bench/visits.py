"""Visits over a month: what the passes pay for them, and what questions cost.

The events are those of `reports.py`, each with a session, so that a day of 2,000,000
has some 360,000 visits. A question is asked in this process; its wall time says little
on a busy machine, so that its processor time is shown, too. Where fewer days are made
than asked for, copies of the last made day stand for the others.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec

from compactor.context import pass_context
from compactor.fold.working_tables import NewEvents
from compactor.generations.day_merge import merge_step, next_day
from compactor.lock import compactor_lock
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Part, Snapshot, encode_snapshot
from shared.settings import Settings
from shared.timestamps import DAY_S, now_ms
from tests.bench.reports import EVENTS_OF_DAY, make_month, publish
from tests.builders.silent_log import SilentLog

LAST_DAY = date(2026, 11, 22)
MEMORY = 256 << 20
ASKED = 20
MEASURES = "visits,bounce_rate,visit_duration"


class Cost(NamedTuple):
    """Seconds: by the clock, and of the processor."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall * 1000:.0f} ms ({self.cpu * 1000:.0f} ms of processor)"


def measured(run: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def step(data: DataDirectory, day: date | None = None) -> tuple[date | None, Cost]:
    """One step of a pass, two days from now, of a day or of the next that waits."""
    before = load_snapshot(data)
    with compactor_lock(data) as lock:
        settings = Settings(data_dir=data.root)
        with pass_context(data, settings, SilentLog(), lock, now_ms() + 2 * DAY_S * 1000) as context:
            chosen = day or next_day(before, (), context.now_ms)
            if chosen is None:
                return None, Cost(0, 0)
            cost = measured(lambda: publish(replace(context), before, NewEvents(), merge_step(context, before, chosen)))
    return chosen, cost


def make_visits(data: DataDirectory) -> list[Cost]:
    """Make those of all days but the last, which the month has merged."""
    return [step(data, day)[1] for day in sorted(load_snapshot(data).days)[:-1]]


def repeat_days(data: DataDirectory, days: int) -> None:
    """Copies of the visits of the last made day, as those of the days before."""
    snapshot = load_snapshot(data)
    made = max(day for day, kept in snapshot.days.items() if kept.sessions)
    kept = snapshot.days[made]
    first = min(snapshot.days)
    with closing(duckdb.connect()) as database:
        added = {}
        for back in range(1, days - len(snapshot.days) + 1):
            day = first - timedelta(days=back)
            moved = {
                "sessions": _moved(database, data, "sessions", made, day, kept.sessions[0], "begun_at", "ended_at"),
                "visits": _moved(database, data, "visits", made, day, kept.visits[0], "bucket"),
            }
            added[day] = msgspec.structs.replace(kept, archive=(), ids=(), counters=(), **moved)
    after = msgspec.structs.replace(snapshot, days={**added, **snapshot.days})
    data.snapshot.write_bytes(encode_snapshot(after))


def _moved(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, kind: str, made: date, day: date, part: Part, *times: str
) -> tuple[Part, ...]:
    path = data.part(kind, day, part.generation)
    path.parent.mkdir(parents=True, exist_ok=True)
    changed = ", ".join(f"({name} - INTERVAL {(made - day).days} DAYS) AS {name}" for name in times)
    rows = f"SELECT * REPLACE ({changed}) FROM read_parquet('{data.part(kind, made, part.generation)}')"
    database.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
    content = path.read_bytes()
    return (Part(part.generation, part.rows, len(content), hashlib.sha256(content).hexdigest(), part.version),)


def ask(database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, **asked: str) -> Cost:
    query = parse({"measures": MEASURES, **asked}, datetime.now(UTC), "UTC")
    return measured(lambda: make_report(database, data, snapshot, query))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--made", type=int, default=3, help="days of which the events are made")
    parser.add_argument("--events", type=int, default=EVENTS_OF_DAY)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        run(DataDirectory(Path(place) / "data"), given.days, given.made, given.events)


def run(data: DataDirectory, days: int, made: int, events: int) -> None:
    make_month(data, made, events).close()
    for cost in make_visits(data):
        print(f"visits of a day of {events} events, as the day merge makes them: {cost}")
    repeat_days(data, days)
    snapshot = load_snapshot(data)
    over, today = str(LAST_DAY - timedelta(days=2)), str(LAST_DAY)
    first = str(LAST_DAY - timedelta(days=days - 1))
    with own_spill(data) as spill, closing(connect(MEMORY, 2, spill)) as database:
        span = {"from": first, "to": over}
        ask(database, data, snapshot, **span)
        quick = sorted(ask(database, data, snapshot, **span, limit=str(n + 1)) for n in range(ASKED))
        print(f"{days - 2} days, unfiltered, p95 of {ASKED}: {quick[int(ASKED * 0.95) - 1]}")
        ask(database, data, snapshot, **span, filter="country==FR")
        filtered = ask(database, data, snapshot, **span, filter="country==DE")
        print(f"{days - 2} days, country==DE: {filtered}")
        span = {"from": today, "to": today}
        print(f"today, first: {ask(database, data, snapshot, **span)}")
        print(f"today, remembered: {ask(database, data, snapshot, **span, interval='hour')}")
        size = sum(part.bytes for kept in snapshot.days.values() for part in kept.sessions)
        rows = sum(part.rows for kept in snapshot.days.values() for part in kept.sessions)
        print(f"{rows} visits in {size / rows:.1f} bytes each")


if __name__ == "__main__":
    main()
