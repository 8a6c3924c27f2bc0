"""One question over the hosts of a store: what is fetched, what the answer is while a
host publishes, is behind or is damaged, and which numbers nobody can know any more.
"""

from __future__ import annotations

import io
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from reports.export import export_of, room_for_export
from reports.hosts.asked import Asked, TimezonesDiffer
from reports.hosts.hosts_store import HostsMoved, HostsStore, hosts_store
from reports.hosts.part_cache import NoRoomForParts
from reports.hosts.stored_parts import StoredPartDamaged, StoredPartMissing
from reports.query import parse
from reports.report import Source, report_of
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.generations.snapshot import EMPTY_TIME, SnapshotDamaged
from shared.stores.instance import known_instance
from shared.stores.ledger import StoreUnavailable
from shared.timestamps import utc_day
from tests.builders.history import history
from tests.builders.hosts import publish_as
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.postgres import Server

pytestmark = pytest.mark.component

NOW = datetime.fromtimestamp(NOON / 1000, UTC)
TODAY = {"from": "2026-11-22", "to": "2026-11-22"}
Answer = dict[str, Any]


def ask(data: DataDirectory, address: str, *, cache_bytes: int = 1 << 30, **given: Any) -> Answer:
    with hosts_store(data, address, cache_bytes, 0) as store:
        return ask_store(store, **given)


def ask_store(store: HostsStore, *, span: Mapping[str, str] = TODAY, **asked: str) -> Answer:
    query = parse({**span, **asked}, NOW, "UTC")
    with closing(connect(256 << 20, 1)) as database:
        return store.read(Asked(query, "UTC"), lambda source: report_of(database, source, query))


def a_host(root: Path, *ids: str, site: str = "example.com") -> DataDirectory:
    """A folded directory with an event of today for each id, each of another
    visitor.
    """
    data = data_directory(root)
    add(data, *ids, site=site)
    return data


def add(data: DataDirectory, *ids: str, site: str = "example.com") -> None:
    sealed(data, [line(each, NOON, visitor=f"visitor-{each}", site=site) for each in ids])
    fold(data, NOON)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hosts")
    a_host(root / "0", "a", "b")
    sealed(data := a_host(root / "1", "c", "d"), [line("e", NOON, visitor="visitor-a")])
    fold(data, NOON)
    return root


@pytest.fixture
def hosts(template: Path, tmp_path: Path, address: str) -> list[DataDirectory]:
    """web-0 with two events, web-1 with three of other ids, one by the same visitor."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    found = [DataDirectory(tmp_path / name) for name in ("0", "1")]
    for number, data in enumerate(found):
        publish_as(f"web-{number}", data, address)
    return found


def execute(address: str, sql: str, *values: object) -> int:
    with psycopg.connect(address, autocommit=True) as connection:
        return connection.execute(sql.encode(), values).rowcount


def cached(data: DataDirectory) -> set[str]:
    return {path.stem for path in data.hosts.iterdir()} if data.hosts.exists() else set()


def shas(data: DataDirectory) -> set[str]:
    days = load_snapshot(data).days.values()
    return {part.sha256 for day in days for part in (*day.archive, *day.counters)}


# --- which hosts an answer is of


def test_answer_is_of_all_hosts_and_says_so(hosts: list[DataDirectory], address: str) -> None:
    answers = [ask(data, address) for data in hosts]
    for number, answer in enumerate(answers):
        snapshot = load_snapshot(hosts[number])
        assert answer["total"] == {"events": 5, "visitors": 4}
        assert [(row["host"], row["behind"], row["retired"]) for row in answer["hosts"]] == [
            ("web-0", False, False),
            ("web-1", False, False),
        ]
        assert answer["generation"] == snapshot.generation == answer["hosts"][number]["generation"]
        assert answer["hosts"][number]["as_of"] == snapshot.as_of
        assert answer["as_of"] == min(row["as_of"] for row in answer["hosts"])


def test_host_that_is_behind_or_has_published_nothing_is_named(hosts: list[DataDirectory], address: str) -> None:
    execute(
        address,
        "INSERT INTO analytics_folded (instance, host, timezone, epoch, epoch_name, claims) "
        "VALUES (gen_random_uuid(), 'web-2', 'UTC', 1, gen_random_uuid(), gen_random_uuid())",
    )
    execute(address, "UPDATE analytics_folded SET published_at = published_at - interval '11 min' WHERE host = 'web-1'")
    answer = ask(hosts[0], address)
    assert [(row["host"], row["behind"], row["as_of"] is None) for row in answer["hosts"]] == [
        ("web-0", False, False),
        ("web-1", True, False),
        ("web-2", True, True),
    ]
    assert answer["total"]["events"] == 5
    publish_as("web-1", hosts[1], address)  # nothing new
    assert [row["behind"] for row in ask(hosts[0], address)["hosts"]] == [False, False, True]


def test_this_host_is_named_before_its_first_publish(tmp_path: Path, hosts: list[DataDirectory], address: str) -> None:
    answer = ask(a_host(tmp_path / "new", "z"), address)
    assert answer["total"]["events"] == 5
    assert [row["host"] for row in answer["hosts"] if row["instance"] is None and row["behind"]] == [
        os.uname().nodename
    ]
    assert answer["generation"] == 0


def test_store_without_tables_has_no_hosts(tmp_path: Path, address: str) -> None:
    answer = ask(a_host(tmp_path / "new", "z"), address)
    assert (answer["total"], len(answer["hosts"])) == ({"events": 0, "visitors": 0}, 1)
    assert answer["as_of"] == EMPTY_TIME


def test_retired_host_counts_and_holds_nothing_up(hosts: list[DataDirectory], address: str) -> None:
    execute(address, "UPDATE analytics_folded SET retired_at = now() WHERE host = 'web-1'")
    execute(address, "UPDATE analytics_folded SET published_at = published_at - interval '11 min'")
    answer = ask(hosts[0], address)
    assert answer["total"]["events"] == 5
    assert [(row["behind"], row["retired"]) for row in answer["hosts"]] == [(True, False), (False, True)]
    assert answer["as_of"] == load_snapshot(hosts[0]).as_of


@pytest.mark.parametrize(
    "key, value", [("bots", "exclude"), ("by", "path"), ("interval", "hour"), ("visitors", "none")]
)
def test_who_is_to_be_erased_is_left_out_of_what_a_retired_host_has_published(
    hosts: list[DataDirectory], address: str, key: str, value: str
) -> None:
    def total() -> Answer:
        with hosts_store(hosts[0], address, 1 << 30, 0) as store:
            found: Answer = ask_store(store, span={**TODAY, key: value})["total"]
            return found

    order = "INSERT INTO analytics_orders (request, asked_at, visitor, site) VALUES (%s, '', 'visitor-c', %s)"
    execute(address, order, "0" * 16, "example.org")
    execute(address, "UPDATE analytics_folded SET retired_at = now() WHERE host = 'web-1'")
    assert total()["events"] == 5
    execute(address, order, "1" * 16, None)
    assert total()["events"] == 4
    assert total().get("visitors") in {3, None}
    execute(address, "UPDATE analytics_folded SET retired_at = NULL")  # it will carry that out itself
    assert total()["events"] == 5


def test_who_is_to_be_erased_is_left_out_of_exports(hosts: list[DataDirectory], address: str) -> None:
    execute(address, "UPDATE analytics_folded SET retired_at = now() WHERE host = 'web-1'")
    order = "INSERT INTO analytics_orders (request, asked_at, visitor) VALUES (%s, '', 'visitor-c')"
    execute(address, order, "0" * 16)
    query, out = parse(TODAY, NOW, "UTC"), io.BytesIO()
    with hosts_store(hosts[0], address, 1 << 30, 0) as store, room_for_export(hosts[0], 256 << 20, 0) as room:
        store.read(Asked(query, "UTC"), lambda source: export_of(room, source, query, "ndjson", out))
    assert [orjson.loads(each)["id"] for each in out.getvalue().splitlines()] == ["a", "b", "d", "e"]


# --- what is fetched


def test_only_parts_of_other_hosts_are_fetched_once(hosts: list[DataDirectory], address: str) -> None:
    with hosts_store(hosts[0], address, 1 << 30, 0) as store:
        ask_store(store, by="site")
        assert cached(hosts[0]) == shas(hosts[1])
        execute(address, "UPDATE analytics_parts SET body = ''")
        assert ask_store(store, by="site")["total"]["events"] == 5
    assert ask(hosts[0], address, by="site")["total"]["events"] == 5  # another process
    assert list(hosts[0].report_spill.iterdir()) == []


def test_part_that_this_host_has_lost_is_fetched(hosts: list[DataDirectory], address: str) -> None:
    expected = ask(hosts[0], address, by="site")
    for path in hosts[0].archive.glob("*/*.parquet"):
        path.write_bytes(path.read_bytes()[:-1])
    shutil.rmtree(hosts[0].counters)
    assert ask(hosts[0], address, by="site") == expected
    assert cached(hosts[0]) == shas(hosts[0]) | shas(hosts[1])


def test_cache_that_holds_nothing_changes_no_answer(hosts: list[DataDirectory], address: str) -> None:
    for _ in range(2):
        assert ask(hosts[0], address, cache_bytes=1, by="site")["total"]["events"] == 5
        assert cached(hosts[0]) == set()


def test_disk_without_room_for_the_parts_is_an_error(hosts: list[DataDirectory], address: str) -> None:
    with hosts_store(hosts[0], address, 1 << 30, 1 << 60) as store, pytest.raises(NoRoomForParts):
        ask_store(store)


def test_readers_share_the_cache(hosts: list[DataDirectory], address: str) -> None:
    """Also while each evicts what the other uses, and hosts publish."""
    found: list[int] = []
    failed: list[BaseException] = []

    def ask_often(cache_bytes: int) -> None:
        try:
            with hosts_store(hosts[0], address, cache_bytes, 0) as store:
                found.extend(ask_store(store, by="site")["total"]["events"] for _ in range(12))
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=ask_often, args=(cache_bytes,)) for cache_bytes in (1, 1 << 30)]
    for thread in threads:
        thread.start()
    for number in range(3):
        add(hosts[1], f"later-{number}")
        publish_as("web-1", hosts[1], address)
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(found) == sorted(found) and {5} <= set(found) <= {5, 6, 7, 8}
    assert ask(hosts[0], address)["total"]["events"] == 8


# --- while hosts publish


def test_question_begins_again_when_a_host_has_replaced_its_parts(
    tmp_path: Path, hosts: list[DataDirectory], address: str
) -> None:
    published: list[str] = []

    def publish_another() -> None:
        if not published:
            for table in ("analytics_parts", "analytics_folded"):
                execute(address, f"DELETE FROM {table} WHERE instance = %s", known_instance(hosts[1]))
            published.append(publish_as("web-1", a_host(tmp_path / "new", "w", "x", "y", "z"), address))

    assert ask_while(hosts[0], address, publish_another)["total"] == {"events": 6, "visitors": 6}


def test_question_ends_when_hosts_publish_again_and_again(hosts: list[DataDirectory], address: str) -> None:
    execute(address, "DELETE FROM analytics_parts")

    def publish() -> None:
        execute(address, "UPDATE analytics_folded SET generation = generation + 1")

    shutil.rmtree(hosts[0].counters)
    with pytest.raises(HostsMoved, match="try again"):
        ask_while(hosts[0], address, publish)


def ask_while(data: DataDirectory, address: str, happens: Callable[[], None]) -> Answer:
    """The answer where something `happens` after the ledger was read."""
    query = parse(TODAY, NOW, "UTC")
    with hosts_store(data, address, 1 << 30, 0) as store, closing(connect(256 << 20, 1)) as database:

        def read(source: Source) -> Answer:
            happens()
            return report_of(database, source, query)

        return store.read(Asked(query, "UTC"), read)


# --- damage


@pytest.mark.parametrize(
    "body", ["set_byte(body, 40, 255 - get_byte(body, 40))", "substr(body, 1, length(body) - 1)", "''"]
)
def test_part_that_is_damaged_in_the_store_is_named(hosts: list[DataDirectory], address: str, body: str) -> None:
    execute(address, f"UPDATE analytics_parts SET body = {body} WHERE kind = 'archive'")
    with pytest.raises(StoredPartDamaged) as caught:
        ask(hosts[0], address)
    assert "archive/2026-11-22" in str(caught.value) and "of web-1" in str(caught.value)
    assert "foldlog store rebuild" in str(caught.value)
    assert cached(hosts[0]) <= shas(hosts[1])
    assert ask(hosts[0], address, visitors="none")["total"] == {"events": 5}  # the counters are whole


def test_part_that_is_missing_in_the_store_is_named(hosts: list[DataDirectory], address: str) -> None:
    execute(address, "DELETE FROM analytics_parts")
    with pytest.raises(StoredPartMissing, match="of web-1 is missing in the store"):
        ask(hosts[0], address)


def test_snapshot_that_is_damaged_in_the_store_is_named(hosts: list[DataDirectory], address: str) -> None:
    execute(address, "UPDATE analytics_folded SET snapshot = set_byte(snapshot, 9, 0) WHERE host = 'web-1'")
    with pytest.raises(SnapshotDamaged, match="of web-1 in the store differs"):
        ask(hosts[0], address)


def test_store_that_is_down_is_unavailable(hosts: list[DataDirectory], address: str, server: Server) -> None:
    server.stop()
    try:
        with pytest.raises(StoreUnavailable):
            ask(hosts[0], address)
    finally:
        server.start()


# --- numbers that cannot be exact


def test_time_zones_that_differ_leave_only_events(tmp_path: Path, hosts: list[DataDirectory], address: str) -> None:
    publish_as("web-2", a_host(tmp_path / "2", "z"), address, "Europe/Berlin")
    with pytest.raises(TimezonesDiffer, match=r"web-2 \(Europe/Berlin\).*scope=host"):
        ask(hosts[0], address)
    assert ask(hosts[0], address, visitors="none", by="path")["total"] == {"events": 6}
    assert ask(hosts[0], address, span={"from": "2026-10-01", "to": "2026-10-02"})["total"]["events"] == 0


@pytest.mark.long
def test_visitors_of_an_expired_day_are_known_where_one_host_has_them(tmp_path: Path, address: str) -> None:
    """web-0 has six days, web-1 three of them; the archives of both have expired."""
    hosts = [history(tmp_path / str(number), days, NOON, f"host-{number}") for number, days in enumerate((6, 3))]
    for number, data in enumerate(hosts):
        fold(data, NOON, archive_retention_days=7)
        assert all(day.expired for day in load_snapshot(data).days.values())
        publish_as(f"web-{number}", data, address)
    first, last = days_ago(15), days_ago(10)
    answer = ask(hosts[1], address, span={"from": first, "to": last}, interval="day")
    assert [(row["events"], row["visitors"]) for row in answer["rows"]] == [(3, 2)] * 3 + [(6, None)] * 3
    assert answer["total"] == {"events": 27, "visitors": None}
    assert "past its retention" in answer["reason"]
    by_path = ask(hosts[1], address, span={"from": first, "to": last}, by="browser")
    assert [(row["value"], row["events"]) for row in by_path["rows"]] == [("Firefox", 27)]
    filtered = ask(hosts[1], address, span={"from": first, "to": last}, filter="path==/")
    assert (filtered["rows"], filtered["total"]) == ([], {"events": None, "visitors": None})


def test_day_whose_archive_one_host_still_has(tmp_path: Path, address: str) -> None:
    hosts = [history(tmp_path / str(number), 3, NOON, f"host-{number}") for number in range(2)]
    fold(hosts[0], NOON, archive_retention_days=7)
    for number, data in enumerate(hosts):
        publish_as(f"web-{number}", data, address)
    answer = ask(hosts[0], address, span={"from": days_ago(12), "to": days_ago(10)}, interval="day", by="path")
    assert [(row["events"], row["visitors"]) for row in answer["rows"]] == [(6, None)] * 3


@pytest.mark.long
def test_day_that_one_host_has_dropped(tmp_path: Path, address: str) -> None:
    hosts = [history(tmp_path / str(number), 7, NOON, f"host-{number}") for number in range(2)]
    for data in hosts:
        fold(data, NOON, archive_retention_days=7)
    total = sum(part.bytes for each in load_snapshot(hosts[0]).days.values() for part in each.counters)
    fold(hosts[0], NOON + 1000, counters_max_bytes=total - 1)
    assert len(load_snapshot(hosts[0]).dropped_days) == 1
    for number, data in enumerate(hosts):
        publish_as(f"web-{number}", data, address)
    dropped = ask(hosts[0], address, span={"from": days_ago(16), "to": days_ago(15)})
    assert (dropped["rows"], dropped["total"]["events"]) == ([], None)
    assert ask(hosts[0], address, span={"from": days_ago(15), "to": days_ago(10)})["total"]["events"] == 36


def days_ago(days: int) -> str:
    return date.fromordinal(utc_day(NOON).toordinal() - days).isoformat()


# --- exports


@pytest.mark.parametrize("memory_bytes", [256 << 20, 1 << 15])
def test_export_is_of_all_hosts_in_order_of_time(hosts: list[DataDirectory], address: str, memory_bytes: int) -> None:
    query, out = parse(TODAY, NOW, "UTC"), io.BytesIO()
    with hosts_store(hosts[0], address, 1 << 30, 0) as store, room_for_export(hosts[0], 256 << 20, 0) as room:
        small = room._replace(memory_bytes=memory_bytes)
        store.read(Asked(query, "UTC"), lambda source: export_of(small, source, query, "ndjson", out))
    assert [orjson.loads(each)["id"] for each in out.getvalue().splitlines()] == ["a", "b", "c", "d", "e"]
