"""Comparing a store that keeps events one by one with the archive, day by day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from compactor.generations.archive import open_parts, stored_events
from compactor.sql import count_rows, sql_text
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot
from shared.stores.clickhouse.columns import TEXT_COLUMNS, hashed_events_sql
from shared.stores.store import EventStore

if TYPE_CHECKING:
    import duckdb

_COLUMNS = "{'h': 'UBIGINT', 'time_ms': 'BIGINT', 'bytes': 'BIGINT', 'own': 'UTINYINT'}"
_MISSING = "(SELECT 1 FROM own_events e ANTI JOIN held_events t USING (h))"
# A copy of another host that came first may differ.
_WRONG = "(SELECT 1 FROM held_events t ANTI JOIN own_events e USING (h, time_ms, bytes) WHERE t.own = 1)"


def compare_events(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    store: EventStore,
    snapshot: Snapshot,
    scratch: Path,
    report: Callable[[str], None],
) -> None:
    """Report each day of a snapshot that the store has in another way. Raises
    PartDamaged.
    """
    for day, kept in snapshot.days.items():
        if kept.expired:
            continue
        store.write_held_events(day, scratch / "held.tsv")
        _read(database, data, store, snapshot, day, scratch / "held.tsv")
        missing, wrong = (count_rows(database, relation) for relation in (_MISSING, _WRONG))
        if missing or wrong:
            report(f"{day}: {missing:,} events are missing, {wrong:,} differ or are wrong")


def _read(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    store: EventStore,
    snapshot: Snapshot,
    day: date,
    held: Path,
) -> None:
    """Create `own_events` and `held_events`."""
    parts = open_parts(data, "archive", day, snapshot.days[day].archive)
    text_bytes = " + ".join(f"strlen(coalesce({name}, ''))" for name in TEXT_COLUMNS)
    events = hashed_events_sql(stored_events(parts)).replace("$key", sql_text(store.shipping().key))
    rows = f"SELECT h, epoch_ms(time) AS time_ms, {text_bytes} AS bytes FROM {events}"
    database.execute(f"CREATE OR REPLACE TEMP TABLE own_events AS {rows}")
    options = f"delim = '\t', auto_detect = false, columns = {_COLUMNS}, hive_partitioning = false"
    found = f"read_csv({sql_text(str(held))}, {options})"
    database.execute(f"CREATE OR REPLACE TEMP TABLE held_events AS FROM {found}")
