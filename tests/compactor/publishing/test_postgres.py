"""A PostgreSQL store: what its hosts share and keep apart, and that a publish which is
cut off anywhere has done everything or nothing.
"""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest

from compactor.publishing import changes
from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest, rebuild_store
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.stores.ledger import StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.postgres import connection as connections
from shared.stores.store import StoredPart
from tests.builders.archive import HOUR_MS
from tests.builders.cut_connection import Cut, Side, cutting
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.questions import as_mappings
from tests.builders.random_lines import random_lines
from tests.builders.recount import counted_events
from tests.builders.stores import (
    all_rows,
    as_total,
    publish,
    queried,
    recount_summary,
    store_settings,
    summary,
    wrong,
)

pytestmark = pytest.mark.component
DAY_MS = 24 * HOUR_MS
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def address(server: Server) -> str:
    return server.database()


def filled(root: Path, count: int = 3, name: str = "event") -> DataDirectory:
    data = data_directory(root)
    add(data, count, name)
    return data


def add(data: DataDirectory, count: int, name: str, time_ms: int = NOON) -> None:
    lines = [
        line(f"{name}-{n}", time_ms, visitor=f"{name}-{n % 3}", url=f"https://example.com/{n}") for n in range(count)
    ]
    sealed(data, lines)
    fold_all(data, time_ms)


def test_hosts_keep_their_rows_apart_and_their_visitors_count_once(tmp_path: Path, address: str) -> None:
    pick = random.Random(7)
    hosts = [data_directory(tmp_path / name) for name in ("a", "b")]
    written = []
    for turn in range(3):
        lines = random_lines(pick, NOON, 20, 20 * turn)
        # Each id at one host: what happens where two have it is not the store's.
        for host in (0, 1):
            own = [each for each in lines if int(each.id.removeprefix("event-")) % 2 == host]
            written.append(own)
            sealed(hosts[host], own)
            fold_all(hosts[host], NOON + turn * 2 * HOUR_MS, timezone="Europe/Berlin")
            publish(hosts[host], store=address, timezone="Europe/Berlin")
    counted = counted_events(as_mappings(written))
    assert summary(address) == recount_summary(counted, BERLIN)
    settings = store_settings(hosts[0], store=address, timezone="Europe/Berlin")
    stores = [open_store(settings, instance_id(host)) for host in hosts]
    rebuild_store(hosts[0], settings, stores[0])
    assert [wrong(host, store) for host, store in zip(hosts, stores, strict=True)] == [[], []]
    assert summary(address) == recount_summary(counted, BERLIN)
    stores[0].empty()
    emptied = stores[0].position()
    assert emptied is not None
    assert (emptied.generation, stores[0].days(), stores[0].parts()) == (0, set(), set())
    assert wrong(hosts[1], stores[1]) == []


@pytest.mark.long
def test_a_host_that_has_lost_the_hashes_of_a_day_makes_the_sum_unknown(tmp_path: Path, address: str) -> None:
    data, other = (data_directory(tmp_path / name) for name in ("data", "other"))
    for back in range(10, -1, -2):  # steps that no clock jumps by
        now_ms = NOON - back * DAY_MS
        for each, retention in ((data, 5), (other, 700)):
            sealed(each, [line(f"event-{back}-{n}", now_ms, visitor=f"{each.root.name}-{n}") for n in range(2)])
            fold_all(each, now_ms, archive_retention_days=retention)
    for each in (data, other):
        publish(each, store=address)
    expired = {day for day, kept in load_snapshot(data).days.items() if kept.expired}
    assert len(expired) > 1
    assert summary(address) == {
        ("example.com", day): (4, None if day in expired else 4) for day in load_snapshot(data).days
    }
    by_instance = queried(address, "SELECT DISTINCT events, visitors FROM analytics_summary_by_instance")
    assert by_instance == [(2, 2)]
    publish(other, store=address)
    assert wrong(data, open_store(store_settings(data, store=address), instance_id(data))) == []


# psycopg cannot close a cursor whose connection is lost, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("side", ["request", pytest.param("answer", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=[pytest.mark.long, pytest.mark.whole, pytest.mark.timeout(1800)]), 7]
)
def test_a_publish_that_is_cut_off_anywhere_did_all_or_nothing(
    tmp_path: Path, address: str, side: Side, step: int
) -> None:
    """At each message of a publish and its claims, in the sample at each seventh."""
    data = filled(tmp_path / "data")
    publish(data, store=address)
    with cutting(address) as cut:
        messages = count_messages(data, cut)
        assert messages > 15
        for at in range(1, messages + 1, step):
            add(data, 2, f"cut-{at}")
            store = open_store(store_settings(data, store=address), instance_id(data))
            before = store.position()
            cut.next_at(at, side)
            with suppress(StoreUnavailable):  # none where it said good-bye
                publish(data, store=cut.address)
            after = store.position()
            assert before and after and after.generation >= before.generation, at
            assert wrong(data, store) == [], at
            assert wrong(data, publish(data, store=address)) == [], at
    assert as_total(all_rows(store)) == sum(events for events, _ in summary(address).values())


def count_messages(data: DataDirectory, cut: Cut) -> int:
    """How many a publish sends."""
    add(data, 1, "counted")
    cut.next_at(None)
    publish(data, store=cut.address)
    return cut.messages


def test_an_answer_to_commit_that_is_lost_is_found_in_the_ledger(tmp_path: Path, address: str) -> None:
    """At each COMMIT of a publish in turn: of claims, then of the generation."""
    data = filled(tmp_path / "data")
    settings = store_settings(data, store=address)
    publish(data, store=address)
    was_done = list[bool]()
    with cutting(address) as cut:
        for place in range(1, 20):
            add(data, 2, f"more-{place}")
            cut.next_at("COMMIT", "answer", place)
            try:
                publish(data, store=cut.address)
            except StoreUnavailable:
                done = publish_newest(data, settings, open_store(settings, instance_id(data)))
                was_done.append(done.before == done.generation)
            else:
                break
            assert wrong(data, open_store(settings, instance_id(data))) == []
    assert set(was_done) == {False, True}


@pytest.mark.long
def test_a_server_that_is_killed_meanwhile_has_nothing_of_the_publish(
    tmp_path: Path, server: Server, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = filled(tmp_path / "data")
    store = publish(data, store=address)
    before = store.position()
    add(data, 2, "more")
    content = changes.SnapshotChanges.content

    def killing(self: changes.SnapshotChanges, part: StoredPart) -> bytes:
        server.kill()
        return content(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(changes.SnapshotChanges, "content", killing)
        with pytest.raises(StoreUnavailable):
            publish(data, store=address)
    with pytest.raises(StoreUnavailable):
        publish(data, store=address)
    server.start()
    assert store.position() == before
    assert wrong(data, publish(data, store=address)) == []
    assert as_total(all_rows(store)) == 5


def test_a_publish_waits_for_a_lock_no_longer_than_it_may(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT_MS", 200)
    data = filled(tmp_path / "data")
    publish(data, store=address)
    add(data, 1, "more")
    with psycopg.connect(address) as other:
        other.execute("SELECT FROM analytics_folded FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            publish(data, store=address)
    store = publish(data, store=address)
    assert wrong(data, store) == []
    assert as_total(all_rows(store)) == 4


def test_a_database_that_sorts_by_a_language_holds_the_same_rows(tmp_path: Path, server: Server) -> None:
    address = server.database("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-ks-level1'")
    data = data_directory(tmp_path / "data")
    paths = ["/z", "/Z", "/ä", "/Ä", "/a", "/A", "/ß", "/ss", "/-a", "/a-", "/_", "/é", "/e\u0301", "/" + "漢" * 1_900]
    for turn in range(2):  # the second time the rows are there
        sealed(data, [line(f"event-{turn}-{n}", url=f"https://example.com{path}") for n, path in enumerate(paths)])
        fold_all(data)
        store = publish(data, store=address)
        assert wrong(data, store) == []
    assert {row.events for row in all_rows(store) if row.dimension == "path"} == {2}


def test_months_come_and_go_with_their_rows(tmp_path: Path, address: str) -> None:
    months = "SELECT relname FROM pg_class WHERE relname ~ '^analytics_counters_20.._..$' ORDER BY relname"
    data, other = (data_directory(tmp_path / name) for name in ("data", "other"))
    for each, time_ms in ((data, NOON - 25 * DAY_MS), (data, NOON), (other, NOON)):
        sealed(each, [line(f"event-{time_ms}", time_ms)])
        fold_all(each)
    publish(other, store=address)
    store = publish(data, store=address)
    assert queried(address, months) == [("analytics_counters_2026_10",), ("analytics_counters_2026_11",)]
    store.empty()
    assert queried(address, months) == [("analytics_counters_2026_11",)]
    with psycopg.connect(address) as reader:
        reader.execute("SELECT FROM analytics_counters")
        open_store(store_settings(other, store=address), instance_id(other)).empty()
    assert queried(address, months) == [("analytics_counters_2026_11",)]
    assert wrong(data, publish(data, store=address)) == []


def test_a_part_that_was_changed_or_lost_is_found(tmp_path: Path, address: str) -> None:
    data = filled(tmp_path / "data")
    store = publish(data, store=address)
    with psycopg.connect(address) as database:
        database.execute("UPDATE analytics_parts SET body = body || '\\x00' WHERE kind = 'archive'")
        database.execute("DELETE FROM analytics_visitors")
        database.execute("UPDATE analytics_counters SET events = 9 WHERE dimension = 'total'")
    assert wrong(data, store) == [
        "2026-11-22: 1 rows are missing or differ, 1 are wrong",
        "2026-11-22: 1 rows of visitors are missing or differ, 0 are wrong",
        "1 parts are missing or differ, 1 are wrong",
    ]
    rebuild_store(data, store_settings(data, store=address), store)
    assert wrong(data, store) == []
