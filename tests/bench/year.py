"""Twelve months of the events of `reports.py`: some days are made, and copies of them,
with visitors of their own, stand for the others.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import msgspec

from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Day, Part, encode_snapshot
from tests.bench.reports import make_month
from tests.bench.visits import make_visits

LAST_DAY = date(2026, 11, 22)
MONTH_EVENTS = 1_000_000
# The columns of time of each kind of part.
TIMES = {"archive": ("time", "received"), "counters": ("bucket",), "sessions": ("begun_at", "ended_at")}
TIMES["visits"] = ("bucket",)


class Year(NamedTuple):
    """`given`: the command line. `place`: a directory that goes when the block ends."""

    given: argparse.Namespace
    data: DataDirectory
    place: Path


@contextmanager
def asked_year(parser: argparse.ArgumentParser, kinds: Collection[str]) -> Iterator[Year]:
    """The year that the command line asks for, with parts of these kinds."""
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--made", type=int, default=3, help="days of which the events are made")
    parser.add_argument("--events", type=int, default=MONTH_EVENTS, help="events of a month")
    parser.add_argument("--data", type=Path, help="where the events are made, or have been")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        data = DataDirectory(given.data or Path(place) / "data")
        if not data.snapshot.exists():
            _make_year(data, given.days, given.made, given.events, kinds)
        yield Year(given, data, Path(place))


def _make_year(data: DataDirectory, days: int, made: int, month_events: int, kinds: Collection[str]) -> None:
    """The last day is as a backlog leaves it, all others are merged."""
    make_month(data, made + 1, month_events // 30).close()
    if "sessions" in kinds:
        make_visits(data)
    snapshot = load_snapshot(data)
    patterns = sorted(snapshot.days)[:-1]
    added: dict[date, Day] = {}
    with closing(duckdb.connect()) as database:
        for number in range(days - len(snapshot.days)):
            day, pattern = min(snapshot.days) - timedelta(days=number + 1), patterns[number % made]
            kept = snapshot.days[pattern]
            parts: dict[str, Any] = dict.fromkeys(TIMES, ())
            for kind in kinds:
                parts[kind] = tuple(_copied(database, data, kind, pattern, day, part) for part in getattr(kept, kind))
            added[day] = msgspec.structs.replace(kept, ids=(), **parts)
    data.snapshot.write_bytes(encode_snapshot(msgspec.structs.replace(snapshot, days={**added, **snapshot.days})))


def _copied(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, kind: str, made: date, day: date, part: Part
) -> Part:
    """A third of the visitors of a pattern come again on the days that copy it."""
    path = data.part(kind, day, part.generation)
    path.parent.mkdir(parents=True, exist_ok=True)
    changed = [f"({name} - INTERVAL {(made - day).days} DAYS) AS {name}" for name in TIMES[kind]]
    if kind in {"archive", "sessions"}:
        mine = f"left(md5(visitor || '{day}'), 16)"
        changed.append(f"CASE WHEN hash(visitor) % 3 = 0 THEN visitor ELSE {mine} END AS visitor")
    rows = f"SELECT * REPLACE ({', '.join(changed)}) FROM read_parquet('{data.part(kind, made, part.generation)}')"
    database.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    content = path.read_bytes()
    return Part(part.generation, part.rows, len(content), hashlib.sha256(content).hexdigest(), part.version)
