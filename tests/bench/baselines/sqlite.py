"""Counter upserts in SQLite, in WAL mode with `synchronous=FULL`: one transaction a
request, on one thread beside the loop.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import uvloop

from tests.bench.baselines.server import DIMENSIONS, Counted, serve

TABLES = "".join(
    f"CREATE TABLE day_{name} (day, {name}, events INTEGER NOT NULL, PRIMARY KEY (day, {name})) WITHOUT ROWID;"
    for name in DIMENSIONS
)
VISITORS = "CREATE TABLE day_visitor (day, visitor, PRIMARY KEY (day, visitor)) WITHOUT ROWID;"
INSERT_VISITOR = "INSERT INTO day_visitor VALUES (?, ?) ON CONFLICT DO NOTHING"
EACH = {
    name: f"INSERT INTO day_{name} VALUES (?, ?, 1) ON CONFLICT (day, {name}) DO UPDATE SET events = events + 1"
    for name in DIMENSIONS
}


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def write(connection: sqlite3.Connection, event: Counted) -> None:
    day = event.day.isoformat()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(INSERT_VISITOR, (day, event.visitor))
    for name, statement in EACH.items():
        connection.execute(statement, (day, getattr(event, name)))
    connection.execute("COMMIT")


async def run(port: int, path: Path) -> None:
    loop = asyncio.get_running_loop()
    with closing(connect(path)) as connection, ThreadPoolExecutor(1) as thread:
        connection.executescript(TABLES + VISITORS)

        async def count(event: Counted) -> None:
            await loop.run_in_executor(thread, write, connection, event)

        await serve(port, count)


def sums(path: Path) -> dict[str, int]:
    """How many events are counted, by each dimension."""
    with closing(connect(path)) as connection:
        return {
            name: int(connection.execute(f"SELECT coalesce(sum(events), 0) FROM day_{name}").fetchone()[0])
            for name in DIMENSIONS
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", type=Path, required=True)
    given = parser.parse_args()
    uvloop.run(run(given.port, given.path))


if __name__ == "__main__":
    main()
