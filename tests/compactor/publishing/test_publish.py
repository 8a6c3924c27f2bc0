"""A store holds what a recount in plain Python says, whichever generations it was
published at, and what a publish writes follows what is new.
"""

from __future__ import annotations

import random
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from compactor.publishing import changed_rows
from compactor.publishing.publish import compare_store, rebuild_store
from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.stores.counter_rows import CounterRow
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.sqlite.store import SqliteStore
from tests.builders.archive import HOUR_MS
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold, fold_all, line, sealed
from tests.builders.questions import as_mappings
from tests.builders.random_lines import random_lines
from tests.builders.recount import counted_events
from tests.builders.stores import as_recount, publish, recount_rows, store_settings

DAY_MS = 24 * HOUR_MS
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns")


def all_rows(store: SqliteStore) -> list[CounterRow]:
    return [row for day in store.days() for row in store.rows(day)]


def wrong(data: DataDirectory, store: SqliteStore) -> list[str]:
    found: list[str] = []
    compare_store(data, store_settings(data), store, found.append)
    return found


@pytest.mark.parametrize(("seed", "zone"), list(enumerate(ZONES)))
def test_a_store_says_what_a_recount_says_at_whatever_generations_it_was_published(
    tmp_path: Path, seed: int, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_rows, "PAGE_ROWS", 7)
    pick, data = random.Random(seed), data_directory(tmp_path / "data")
    lines: list[Line] = []
    for turn in range(14):
        new = random_lines(pick, NOON, 12, len(lines))
        lines += new
        sealed(data, new)
        fold_all(data, NOON + turn * 2 * HOUR_MS, timezone=zone)
        # Seldom enough that parts of the last publish are deleted, now and then.
        if pick.random() < 0.4 or turn == 13:
            store = publish(data, timezone=zone)
            expected = recount_rows(counted_events(as_mappings([lines])), ZoneInfo(zone))
            assert as_recount(all_rows(store)) == expected, turn
            assert wrong(data, store) == []


def test_what_is_erased_expired_and_capped_leaves_the_store(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    kept = [line(f"kept-{n}", NOON - 2 * DAY_MS, url=f"https://example.com/{n}") for n in range(30)]
    sealed(data, [*kept, line("gone", NOON - 2 * DAY_MS, visitor="gone", url="https://example.com/secret")])
    fold_all(data, NOON - 2 * DAY_MS)
    store = publish(data)
    assert any(row.value == "/secret" for row in all_rows(store))
    create_request(data, "gone", None)
    erase(data, NOON)
    fold_all(data, NOON + DAY_MS, max_values=10)
    store = publish(data)
    rows = all_rows(store)
    assert not any(row.value == "/secret" for row in rows)
    assert sum(row.events for row in rows if row.dimension == "total") == 30
    assert wrong(data, store) == []


def test_a_dimension_with_too_many_values_leaves_the_store_until_its_day_is_over(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    shown = []
    for first, count, now_ms in ((0, 5, NOON), (5, 1_000, NOON), (1_005, 0, NOON + 3 * DAY_MS)):
        if count:
            sealed(data, [line(f"event-{n}", url=f"https://example.com/{n}") for n in range(first, first + count)])
        fold_all(data, now_ms, max_values=10)
        store = publish(data)
        assert wrong(data, store) == []
        shown.append(sum(row.events for row in all_rows(store) if row.dimension == "path"))
    assert shown == [5, 0, 1_005]


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


def written_rows(data: DataDirectory, store: SqliteStore) -> list[CounterRow]:
    """What the next publish would write."""
    import duckdb

    held = store.position()
    assert held is not None
    with closing(duckdb.connect()) as database:
        days = changed_rows.changed_rows(database, data, held.snapshot, load_snapshot(data))
        return [row for day in days for page in day.pages for row in page]


def test_texts_that_a_database_cannot_index_or_show_are_rows_like_others(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    paths = ["/" + "漢" * 1_900, "/a\u0001b", "/'; DROP TABLE analytics_counters; --", "/Ä", "/ä", "/a ", "/a"]
    sealed(data, [line(f"event-{n}", url=f"https://example.com{path}") for n, path in enumerate(paths)])
    fold_all(data)
    store = publish(data)
    assert len({row.key for row in all_rows(store) if row.dimension == "path"}) == len(paths)
    assert wrong(data, store) == []


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


def as_total(rows: Iterable[CounterRow]) -> int:
    return sum(row.events for row in rows if row.dimension == "total")


def test_the_store_of_another_directory_is_refused_until_it_is_rebuilt(tmp_path: Path) -> None:
    first, second = (data_directory(tmp_path / name) for name in ("data", "other"))
    for data, count in ((first, 3), (second, 4)):
        sealed(data, [line(f"event-{n}") for n in range(count)])
        fold_all(data)
    publish(first)
    with pytest.raises(StoreRefused, match="foldlog store rebuild"):
        publish(second)
    assert as_total(all_rows(open_store(store_settings(first)))) == 3
    rebuild_store(second, store_settings(second), open_store(store_settings(second)))
    assert as_total(all_rows(open_store(store_settings(second)))) == 4


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
