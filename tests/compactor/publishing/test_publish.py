"""A store holds what a recount in plain Python says, whichever generations it was
published at, and what a publish writes follows what is new.
"""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from compactor.publishing.changes import SnapshotChanges
from compactor.publishing.instance import instance_id
from compactor.publishing.publish import rebuild_store
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.stores.counter_rows import CounterRow
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.store import Store
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, data_directory, fold, fold_all, line, sealed
from tests.builders.stores import all_rows, as_total, publish, store_settings, wrong

DAY_MS = 24 * HOUR_MS
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns")


def test_a_publish_writes_what_changed_and_an_idle_one_nothing(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line(f"old-{n}", url=f"https://example.com/{n}") for n in range(200)])
    fold_all(data)
    store = publish(data)
    sealed(data, [line("new", url="https://example.com/7")])
    fold_all(data)
    changed = written_rows(data, store)
    assert {row.value for row in changed if row.dimension == "path"} == {"/7"}
    assert len(changed) < 20
    publish(data)
    before = (tmp_path / "analytics.db").stat().st_mtime_ns, store.position()
    publish(data)
    assert ((tmp_path / "analytics.db").stat().st_mtime_ns, store.position()) == before


def written_rows(data: DataDirectory, store: Store) -> list[CounterRow]:
    """What the next publish would write."""
    import duckdb

    held = store.position()
    assert held is not None
    with closing(duckdb.connect()) as database:
        days = SnapshotChanges(database, data, held.snapshot, load_snapshot(data)).counters()
        return [row for day in days for page in day.pages for row in page]


def test_a_store_that_is_behind_ahead_or_emptied_is_put_right(tmp_path: Path) -> None:
    """As after a restore of the one or the other, or of neither when a file is lost."""
    data, file = data_directory(tmp_path / "data"), tmp_path / "analytics.db"
    copies: list[bytes] = []
    for turn in range(6):
        sealed(data, [line(f"event-{turn}-{n}", NOON + turn) for n in range(5)])
        fold_all(data)
        publish(data)
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        copies.append(file.read_bytes())
    for old in (copies[0], copies[3], b""):
        file.write_bytes(old)
        store = publish(data)
        assert as_total(all_rows(store)) == 30
        assert wrong(data, store) == []


def test_the_store_of_another_directory_is_refused_until_it_is_rebuilt(tmp_path: Path) -> None:
    first, second = (data_directory(tmp_path / name) for name in ("data", "other"))
    for data, count in ((first, 3), (second, 4)):
        sealed(data, [line(f"event-{n}") for n in range(count)])
        fold_all(data)
    publish(first)
    with pytest.raises(StoreRefused, match="foldlog store rebuild"):
        publish(second)
    assert as_total(all_rows(open_store(store_settings(first), instance_id(first)))) == 3
    rebuild_store(second, store_settings(second), open_store(store_settings(second), instance_id(second)))
    assert as_total(all_rows(open_store(store_settings(second), instance_id(second)))) == 4


def test_a_changed_row_is_found(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-1")])
    fold(data)
    store = publish(data)
    with closing(sqlite3.connect(tmp_path / "analytics.db")) as database, database:
        database.execute("UPDATE analytics_counters SET events = 9 WHERE dimension = 'total'")
    assert wrong(data, store) == ["2026-11-22: 1 rows are missing or differ, 1 are wrong"]


def test_the_file_is_for_the_owner_and_the_group(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    publish(data)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("analytics.db*")}
    assert set(modes.values()) == {0o640}, modes


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    (tmp_path / "analytics.db").write_bytes(b"no database at all, but something else" * 100)
    with pytest.raises(StoreUnavailable, match=r"analytics\.db.*not a database"):
        publish(data)
