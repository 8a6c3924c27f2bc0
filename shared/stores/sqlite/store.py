"""SQLite as a store, for other tools of this host that speak SQL.

A publish is one transaction: the rows of the days that changed, and the ledger row that
says of which generation they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from shared.disk.durable import FILE_MODE, make_directory
from shared.generations.snapshot import decode_snapshot
from shared.stores.counter_rows import CounterRow, DayRows
from shared.stores.ledger import Position, StoreRefused, StoreUnavailable
from shared.stores.store import Changes, StoredPart
from shared.stores.visitor_rows import DayCounts, VisitorDigest

SCHEMA = 1
# In WAL mode a tool that reads delays no publish. One that writes does, this long.
BUSY_S = 5.0
_SELECT = "SELECT key, day, dimension, site, event, value, bot, events FROM analytics_counters WHERE utc_day = ?"
_UPSERT = """
    INSERT INTO analytics_counters (utc_day, key, day, dimension, site, event, value, bot, events)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (utc_day, key) DO UPDATE SET events = excluded.events WHERE events <> excluded.events
"""


class SqliteStore:
    """The database file of one instance."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return f"the SQLite store {self._path}"

    def position(self) -> Position | None:
        """See Store; so for the other methods."""
        with self._connected() as database:
            return self._position(database)

    def publish(self, base: Position | None, after: Position, content: bytes, changes: Changes) -> None:
        with self._connected() as database, _transaction(database):
            found = self._position(database)
            if (found and found.identity) != (base and base.identity):
                raise StoreUnavailable(str(self), "another process published meanwhile")
            for day in changes.counters():
                _replace_rows(database, day)
            for counts in changes.visitor_counts():
                _replace_counts(database, counts)
            database.execute(
                "INSERT OR REPLACE INTO analytics_folded VALUES (1, ?, ?, ?, ?, ?, ?)",
                (SCHEMA, after.instance, after.generation, after.snapshot.as_of, after.sha256, content),
            )

    def confirm(self, held: Position) -> None:
        """Nothing: no other host asks."""

    def empty(self) -> None:
        with self._connected() as database, _transaction(database):
            database.execute("DELETE FROM analytics_counters")
            database.execute("DELETE FROM analytics_visitors")
            database.execute("DELETE FROM analytics_folded")

    def days(self) -> set[date]:
        with self._connected() as database:
            found = database.execute("SELECT DISTINCT utc_day FROM analytics_counters").fetchall()
            return {date.fromisoformat(day) for (day,) in found}

    def rows(self, utc_day: date) -> set[CounterRow]:
        with self._connected() as database:
            return set(map(_row, database.execute(_SELECT, (str(utc_day),)).fetchall()))

    def parts(self) -> set[StoredPart] | None:
        return None

    def visitor_key(self) -> bytes | None:
        return None

    def visitors(self, _utc_day: date) -> set[VisitorDigest]:
        return set()

    def _position(self, database: sqlite3.Connection) -> Position | None:
        sql = "SELECT schema, instance, generation, snapshot_sha256, snapshot FROM analytics_folded"
        row = database.execute(sql).fetchone()
        if row is None:
            return None
        schema, instance, generation, sha256, content = row
        if schema != SCHEMA:
            raise StoreRefused(str(self), f"was written by another Foldlog (schema {schema}, not {SCHEMA})")
        return Position(instance, generation, sha256, decode_snapshot(content, self._path))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            make_directory(self._path.parent)
            if not self._path.exists():
                self._path.touch(FILE_MODE)
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA secure_delete = ON")  # what was erased is not left in free pages
                database.executescript(Path(__file__).with_name("schema.sql").read_text("utf-8"))
                yield database
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(str(self), str(error)) from error


def _row(found: tuple[Any, ...]) -> CounterRow:
    key, day, dimension, site, event, value, bot, events = found
    return CounterRow(key, date.fromisoformat(day), dimension, site, event, value, bool(bot), events)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _replace_rows(database: sqlite3.Connection, day: DayRows) -> None:
    utc_day = str(day.utc_day)
    database.execute("CREATE TEMP TABLE IF NOT EXISTS whole_day (key BLOB PRIMARY KEY) WITHOUT ROWID")
    database.execute("DELETE FROM whole_day")
    for rows in day.pages:
        if day.whole:
            database.executemany("INSERT INTO whole_day VALUES (?)", ((row.key,) for row in rows))
        gone = ((utc_day, row.key) for row in rows if not row.events)
        database.executemany("DELETE FROM analytics_counters WHERE utc_day = ? AND key = ?", gone)
        kept = ((utc_day, row.key, str(row.day), *row[2:]) for row in rows if row.events)
        database.executemany(_UPSERT, kept)
    if day.whole:
        others = "DELETE FROM analytics_counters WHERE utc_day = ? AND key NOT IN (SELECT key FROM whole_day)"
        database.execute(others, (utc_day,))


def _replace_counts(database: sqlite3.Connection, counts: DayCounts) -> None:
    day = str(counts.day)
    database.execute("DELETE FROM analytics_visitors WHERE day = ?", (day,))
    rows = ((day, site, visitors) for site, visitors in counts.visitors.items())
    database.executemany("INSERT INTO analytics_visitors VALUES (?, ?, ?)", rows)
