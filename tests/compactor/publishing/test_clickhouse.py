"""What a ClickHouse store keeps: each event once, whichever generations it was
published at, with an old server in two shards and with today's.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from compactor.publishing.publish import rebuild_store
from ingest.collect.encode import Line
from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.tables import events_table
from shared.stores.ledger import StoreRefused
from tests.builders.archive import HOUR_MS
from tests.builders.clickhouse_kinds import KINDS, ClickHouses
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.questions import as_mappings
from tests.builders.random_lines import random_lines
from tests.builders.recount import counted_events
from tests.builders.stores import publish, store_settings, wrong

pytestmark = pytest.mark.component
DAY_MS = 24 * HOUR_MS


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> ClickHouses:
    found: ClickHouses = request.getfixturevalue(f"clickhouse_{request.param}")
    return found


@pytest.fixture
def address(servers: ClickHouses) -> str:
    return servers.database()


def events(servers: ClickHouses, address: str, what: str = "id") -> list[str]:
    """Those that count."""
    cluster = parse_cluster(address)
    found = servers.ask(f"SELECT {what} FROM {cluster.database}.{events_table(cluster)} FINAL")
    return sorted(found.splitlines())


def test_a_store_has_each_event_once_at_whatever_generations_it_was_published(
    tmp_path: Path, servers: ClickHouses, address: str
) -> None:
    pick, data = random.Random(1), data_directory(tmp_path / "data")
    lines: list[Line] = []
    for turn in range(14):
        new = random_lines(pick, NOON, 12, len(lines))
        lines += new
        sealed(data, new)
        fold_all(data, NOON + turn * 2 * HOUR_MS)
        # Seldom enough that parts of the last publish are deleted, now and then.
        if pick.random() < 0.4 or turn == 13:
            store = publish(data, store=address)
            counted = counted_events(as_mappings([lines]))
            expected = [
                f"{round(each.time.timestamp() * 1000)}\t{each.values['site']}\t{each.values['event']}\t{each.visitor}"
                for each in counted
            ]
            found = events(servers, address, "time_ms, site, event, ifNull(visitor, 'None')")
            assert found == sorted(expected), turn
            assert wrong(data, store) == []


def test_what_is_erased_leaves_the_store(tmp_path: Path, servers: ClickHouses, address: str) -> None:
    data = data_directory(tmp_path / "data")
    kept = [line(f"kept-{n}", NOON - 2 * DAY_MS, url=f"https://example.com/{n}") for n in range(30)]
    sealed(data, [*kept, line("gone", NOON - 2 * DAY_MS, visitor="gone", url="https://example.com/secret")])
    fold_all(data, NOON - 2 * DAY_MS)
    publish(data, store=address)
    assert "gone" in events(servers, address)
    create_request(data, "gone", None)
    erase(data, NOON)
    fold_all(data, NOON + DAY_MS)
    store = publish(data, store=address)
    assert events(servers, address) == sorted(f"kept-{n}" for n in range(30))
    assert wrong(data, store) == []


def test_texts_arrive_as_they_are(tmp_path: Path, servers: ClickHouses, address: str) -> None:
    data = data_directory(tmp_path / "data")
    odd = ["a\u0001b", "a\\N\t\n\"b'", "'; DROP TABLE analytics_events; --", "Ä", "ä", "a ", "\\", "漢" * 60]
    props = [{"a/b~c": text, "it's": "\\N", "n": 1.5, "b": True} for text in odd]
    sealed(
        data,
        [line(f"event-{n}", session=text, props=each) for n, (text, each) in enumerate(zip(odd, props, strict=True))],
    )
    fold_all(data)
    store = publish(data, store=address)
    assert wrong(data, store) == []
    found = events(servers, address, "hex(session), prop_keys, arrayMap(x -> hex(x), prop_values)")
    expected = [
        f"{text.encode().hex().upper()}\t['a/b~c','it\\'s','n','b']\t"
        f"['{text.encode().hex().upper()}','5C4E','312E35','74727565']"
        for text in odd
    ]
    assert found == sorted(expected)


def test_a_store_that_lost_everything_is_filled_again(tmp_path: Path, servers: ClickHouses, address: str) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line(f"event-{n}") for n in range(30)])
    fold_all(data)
    store = publish(data, store=address)
    before = events(servers, address)
    rebuild_store(data, store_settings(data, store=address), store)
    assert (events(servers, address), len(before), wrong(data, store)) == (before, 30, [])


def test_a_host_without_shared_keys_is_alone(tmp_path: Path, address: str) -> None:
    first, second = (data_directory(tmp_path / name) for name in ("first", "second"))
    for data in (first, second):
        sealed(data, [line("event-1")])
        fold_all(data)
    publish(first, store=address)
    with pytest.raises(StoreRefused, match="has events of other hosts"):
        publish(second, store=address)


def test_a_directory_that_is_behind_its_store_is_refused(tmp_path: Path, address: str) -> None:
    data, copied = data_directory(tmp_path / "data"), tmp_path / "copied"
    sealed(data, [line("event-1")])
    fold_all(data)
    publish(data, store=address)
    shutil.copytree(data.root, copied)
    sealed(data, [line("event-2")])
    fold_all(data)
    publish(data, store=address)
    other = DataDirectory(copied)
    sealed(other, [line("event-3")])
    fold_all(other)
    with pytest.raises(StoreRefused, match="restored from a backup, or copied"):
        publish(other, store=address)
    assert load_snapshot(other).generation == load_snapshot(data).generation
