"""Publishing to ClickHouse while requests are cut off, shards are down or restored:
nothing twice, nothing missing, and what is erased does not come back (P7).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.tables import events_table
from shared.stores.ledger import StoreUnavailable
from tests.builders import clickhouse
from tests.builders.clickhouse_kinds import KINDS, ClickHouses
from tests.builders.cut_requests import SIDES, CutRequests, Side, cutting
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.stores import publish, wrong

pytestmark = pytest.mark.component
DAY_MS = 86_400_000
REQUESTS_MAX = 60


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> ClickHouses:
    found: ClickHouses = request.getfixturevalue(f"clickhouse_{request.param}")
    return found


def events(servers: ClickHouses, address: str) -> list[str]:
    """Those that count."""
    cluster = parse_cluster(address)
    return sorted(servers.ask(f"SELECT id FROM {cluster.database}.{events_table(cluster)} FINAL").splitlines())


def receive(data: DataDirectory, *ids: str, day: int = 0, visitor: str = "visitor-1") -> None:
    sealed(data, [line(id_, NOON - day * DAY_MS, visitor=visitor) for id_ in ids])
    fold_all(data, NOON)


def erase_visitor(data: DataDirectory, visitor: str) -> None:
    create_request(data, visitor, None)
    erase(data, NOON)


@pytest.mark.parametrize(
    ("side", "first", "step"),
    [
        *((side, first, 6) for first, side in enumerate(SIDES, 1)),
        *(pytest.param(side, 1, 1, marks=pytest.mark.whole) for side in SIDES),
    ],
)
@pytest.mark.long
def test_what_a_cut_publish_left_is_put_right(
    tmp_path: Path, servers: ClickHouses, side: Side, first: int, step: int
) -> None:
    """Each request in turn is cut, in the sample each sixth on each side, half of them
    together, and what was sent by then is erased before the next publish.
    """
    data, kept = data_directory(tmp_path / "data"), ["kept"]
    with cutting(servers.database()) as cut:
        receive(data, "kept")
        store = publish(data, store=cut.address)
        for number in count(first, step):
            receive(data, f"gone-{number}", f"gone-{number}-too", visitor=f"gone-{number}")
            receive(data, f"kept-{number}", f"kept-{number}-too", day=1 + number % 2)
            kept += [f"kept-{number}", f"kept-{number}-too"]
            if not is_cut(data, cut, number, side):
                break
            erase_visitor(data, f"gone-{number}")
            store = publish(data, store=cut.address)
            assert events(servers, cut.address) == sorted(kept), number
            assert wrong(data, store) == [], number
        assert 8 < number < REQUESTS_MAX


def is_cut(data: DataDirectory, cut: CutRequests, number: int, side: Side) -> bool:
    cut.next_at(number, side)
    try:
        publish(data, store=cut.address)
    except StoreUnavailable:
        return True
    finally:
        cut.next_at(None)
    return False


@pytest.fixture(scope="module")
def shards() -> Iterator[clickhouse.Shards]:
    with clickhouse.running(2) as found:
        yield found


@pytest.mark.long
@pytest.mark.parametrize("is_published_between", [True, False])
def test_an_erased_event_does_not_come_back_with_a_restored_shard(
    tmp_path: Path, shards: clickhouse.Shards, is_published_between: bool
) -> None:
    """The shard is restored from before the erasure; where nothing was published
    between, the other shard has events that the restored one's ledger does not name.
    """
    data, address = data_directory(tmp_path / "data"), shards.database()
    old = [f"old-{n}" for n in range(20)]
    receive(data, *old)
    receive(data, *(f"gone-{n}" for n in range(20)), visitor="gone")
    publish(data, store=address)
    shards.servers[1].keep_copy(tmp_path / "yesterday")
    new = [f"new-{n}" for n in range(20)]
    receive(data, *new)
    receive(data, *(f"later-{n}" for n in range(20)), day=1, visitor="gone")
    publish(data, store=address)
    erase_visitor(data, "gone")
    if is_published_between:
        publish(data, store=address)
    shards.servers[1].restore(tmp_path / "yesterday")
    store = publish(data, store=address)
    assert events(shards, address) == sorted(old + new)
    assert wrong(data, store) == []


@pytest.mark.long
def test_a_shard_that_lost_everything_is_filled_and_nothing_erased_stays(
    tmp_path: Path, shards: clickhouse.Shards
) -> None:
    data, address = data_directory(tmp_path / "data"), shards.database()
    old = [f"old-{n}" for n in range(20)]
    receive(data, *old)
    receive(data, *(f"gone-{n}" for n in range(20)), visitor="gone")
    publish(data, store=address)
    erase_visitor(data, "gone")
    name = parse_cluster(address).database
    shards.servers[1].ask(f"DROP DATABASE {name}")
    shards.servers[1].ask(f"CREATE DATABASE {name}")
    store = publish(data, store=address)
    assert events(shards, address) == sorted(old)
    assert wrong(data, store) == []


@pytest.mark.long
def test_a_shard_that_is_down_is_named_and_gets_its_events_later(tmp_path: Path, shards: clickhouse.Shards) -> None:
    data, address = data_directory(tmp_path / "data"), shards.database()
    receive(data, "first")
    publish(data, store=address)
    receive(data, *(f"event-{n}" for n in range(20)))
    shard = shards.servers[1]
    shard.kill()
    with pytest.raises(StoreUnavailable, match=f"server 127.0.0.1:{shard.http} could not be read or written"):
        publish(data, store=address)
    shard.start()
    store = publish(data, store=address)
    assert events(shards, address) == sorted(["first", *(f"event-{n}" for n in range(20))])
    assert wrong(data, store) == []
