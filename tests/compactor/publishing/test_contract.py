"""What every store keeps: it holds what a recount in plain Python says, whichever
generations it was published at.
"""

from __future__ import annotations

import random
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from compactor.publishing import changed_rows, changed_visitors
from compactor.publishing.changes import SnapshotChanges
from ingest.collect.encode import Line
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.stores.ledger import Position, StoreUnavailable
from shared.timestamps import epoch_ms
from tests.builders.archive import HOUR_MS
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.questions import as_mappings
from tests.builders.random_lines import random_lines
from tests.builders.recount import counted_events
from tests.builders.stores import all_rows, as_recount, publish, recount_rows, recount_summary, summary, wrong

DAY_MS = 24 * HOUR_MS
TURNS = 8
ZONES = (
    "Europe/Berlin",
    pytest.param("America/St_Johns", marks=pytest.mark.long),
    *(pytest.param(zone, marks=[pytest.mark.long, pytest.mark.whole]) for zone in ("UTC", "Asia/Kathmandu")),
)


@pytest.mark.parametrize("zone", ZONES)
def test_a_store_says_what_a_recount_says_at_whatever_generations_it_was_published(
    tmp_path: Path, address: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_rows, "PAGE_ROWS", 7)
    monkeypatch.setattr(changed_visitors, "PAGE_HASHES", 2)
    pick, data = random.Random(zone), data_directory(tmp_path / "data")
    lines: list[Line] = []
    for turn in range(TURNS):
        new = random_lines(pick, NOON, 12, len(lines))
        lines += new
        sealed(data, new)
        fold_all(data, NOON + turn * 2 * HOUR_MS, timezone=zone)
        # Seldom enough that parts of the last publish are deleted, now and then.
        if pick.random() < 0.4 or turn == TURNS - 1:
            store = publish(data, store=address, timezone=zone)
            counted = counted_events(as_mappings([lines]))
            assert as_recount(all_rows(store)) == recount_rows(counted, ZoneInfo(zone)), turn
            assert summary(address) == recount_summary(counted, ZoneInfo(zone)), turn
            assert wrong(data, store) == []


def test_what_is_erased_expired_and_capped_leaves_the_store(tmp_path: Path, address: str) -> None:
    data = data_directory(tmp_path / "data")
    kept = [line(f"kept-{n}", NOON - 2 * DAY_MS, url=f"https://example.com/{n}") for n in range(30)]
    sealed(data, [*kept, line("gone", NOON - 2 * DAY_MS, visitor="gone", url="https://example.com/secret")])
    fold_all(data, NOON - 2 * DAY_MS)
    store = publish(data, store=address)
    assert any(row.value == "/secret" for row in all_rows(store))
    create_request(data, "gone", None)
    erase(data, NOON)
    fold_all(data, NOON + DAY_MS, max_values=10)
    store = publish(data, store=address)
    rows = all_rows(store)
    assert not any(row.value == "/secret" for row in rows)
    assert sum(row.events for row in rows if row.dimension == "total") == 30
    assert wrong(data, store) == []


def test_a_dimension_with_too_many_values_leaves_the_store_until_its_day_is_over(tmp_path: Path, address: str) -> None:
    data = data_directory(tmp_path / "data")
    shown = []
    for first, count, now_ms in ((0, 5, NOON), (5, 1_000, NOON), (1_005, 0, NOON + 3 * DAY_MS)):
        if count:
            sealed(data, [line(f"event-{n}", url=f"https://example.com/{n}") for n in range(first, first + count)])
        fold_all(data, now_ms, max_values=10)
        store = publish(data, store=address)
        assert wrong(data, store) == []
        shown.append(sum(row.events for row in all_rows(store) if row.dimension == "path"))
    assert shown == [5, 0, 1_005]


def test_texts_that_a_database_cannot_index_or_show_are_rows_like_others(tmp_path: Path, address: str) -> None:
    data = data_directory(tmp_path / "data")
    odd = ["/a\u0001b", "/a\u0000b", "/a\\N\t\n\"b'", "/'; DROP TABLE analytics_counters; --", "/Ä", "/ä", "/a ", "/a"]
    paths = ["/" + "漢" * 1_900, *odd]
    sealed(data, [line(f"event-{n}", url=f"https://example.com{path}") for n, path in enumerate(paths)])
    fold_all(data)
    store = publish(data, store=address)
    assert len({row.key for row in all_rows(store) if row.dimension == "path"}) == len(paths)
    assert wrong(data, store) == []


@pytest.mark.long
def test_visitors_of_days_whose_archive_has_expired_stay(tmp_path: Path, address: str) -> None:
    data, zone = data_directory(tmp_path / "data"), "Europe/Berlin"
    lines = random_lines(random.Random(3), NOON, 60, 0)
    for back in range(6, -8, -2):
        now_ms = NOON - back * DAY_MS
        if new := [each for each in lines if now_ms - 2 * DAY_MS <= epoch_ms(each.time) < now_ms]:
            sealed(data, new)
        fold_all(data, now_ms, timezone=zone, archive_retention_days=5)
        if back % 4 == 2 or back == -6:
            store = publish(data, store=address, timezone=zone)
    assert sum(kept.expired for kept in load_snapshot(data).days.values()) > 2
    assert summary(address) == recount_summary(counted_events(as_mappings([lines])), ZoneInfo(zone))
    assert wrong(data, store) == []


def test_a_publish_from_what_the_store_does_not_hold_is_refused(tmp_path: Path, address: str) -> None:
    data = data_directory(tmp_path / "data")
    bases: list[Position | None] = [None]
    for turn in range(3):
        sealed(data, [line(f"event-{turn}")])
        fold_all(data)
        store = publish(data, store=address)
        bases.append(store.position())
    newest = bases.pop()
    assert newest
    changes = SnapshotChanges(duckdb.connect(), data, Snapshot(), newest.snapshot)
    for base in bases:
        with pytest.raises(StoreUnavailable, match="another process published meanwhile"):
            store.publish(base, newest, encode_snapshot(newest.snapshot), changes)
    assert (store.position(), wrong(data, store)) == (newest, [])
