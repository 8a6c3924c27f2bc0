"""An id counts once over the hosts of a store, whichever publishes first (P7)."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from compactor.claims.claim import IdsClaimedElsewhere
from compactor.publishing.new_instance import CountedElsewhere, begin_as_another
from compactor.publishing.publish import retire_instance
from compactor.repair.verify import verify
from ingest.collect.encode import Line
from shared.erasures import create_request
from shared.event_ids import make_event_ids
from shared.generations.load import load_snapshot
from shared.stores.ledger import StoreRefused
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from shared.stores.postgres.store import PostgresStore
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, line
from tests.builders.postgres import Server
from tests.builders.store_hosts import StoreHost, counted_ids, totals

DAY_MS = 24 * HOUR_MS
pytestmark = pytest.mark.component


@pytest.fixture
def hosts(server: Server, tmp_path: Path) -> list[StoreHost]:
    address = server.database()
    return [StoreHost(tmp_path / name, address) for name in "abc"]


def lines(*ids: int, day: int = 0) -> list[Line]:
    return [line(f"event-{number:06}", NOON + day * DAY_MS, NOON, visitor=f"v{number % 7}") for number in ids]


def check(hosts: list[StoreHost], tmp_path: Path, ids: set[int]) -> None:
    """Each id counts once, and each directory is in order."""
    found = counted_ids(hosts[0].settings.store, tmp_path)
    assert found == dict.fromkeys((f"event-{number:06}" for number in ids), 1)
    for host in hosts:
        assert verify(host.data, host.settings, lambda _: None).findings == []


def test_what_another_host_claimed_first_is_yielded(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second, _ = hosts
    first.receive(lines(*range(10)))
    first.settle()
    second.receive(lines(*range(5, 20)))
    with pytest.raises(IdsClaimedElsewhere) as caught:
        second.publish()
    assert caught.value.events == 5
    second.settle()
    assert (totals(first), totals(second)) == ((10, 0), (10, 5))
    check(hosts[:2], tmp_path, set(range(20)))
    (day,) = load_snapshot(second.data).days.values()
    assert sum(part.rows for part in day.yielded) == 5


def test_copies_on_neighbouring_days_count_once(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second, third = hosts
    first.receive(lines(1, 2, 3))
    second.receive(lines(1, 2, day=-3))
    third.receive(lines(2, 3, 4, day=-1))
    for host in (first, second, third):
        host.settle()
    check(hosts, tmp_path, {1, 2, 3, 4})
    assert [totals(host)[0] for host in hosts] == [3, 0, 1]


def test_days_farther_apart_are_two_events(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second, _ = hosts
    first.receive(lines(1))
    second.receive(lines(1, day=-4))
    first.settle()
    second.settle()
    assert counted_ids(first.settings.store, tmp_path) == {"event-000001": 2}


def test_a_publish_of_nothing_new_claims_nothing(hosts: list[StoreHost]) -> None:
    first = hosts[0]
    first.receive(lines(1, 2))
    first.settle()
    before = first.data.store_note.read_bytes()
    first.settle()
    assert first.data.store_note.read_bytes() == before


def test_a_new_epoch_claims_what_was_claimed_before_as_well(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second, _ = hosts
    first.receive(lines(*range(5)))
    first.settle()
    with connected(first.settings.store) as connection:  # as if it was restored
        connection.execute("UPDATE analytics_folded SET claims = gen_random_uuid()")
    first.settle()
    second.receive(lines(*range(6)))
    second.settle()
    assert (totals(first)[0], totals(second)[0]) == (5, 1)
    check([first, second], tmp_path, set(range(6)))


def test_a_first_host_claims_only_what_a_copy_may_still_come_of(
    hosts: list[StoreHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compactor.claims.known_claims.BLOCK_IDS", 3)
    first, second, _ = hosts
    first.receive([*lines(*range(8)), *lines(9, day=-30)])
    first.settle()
    with connected(first.settings.store) as connection:
        blocks = connection.execute("SELECT day, length(ids) / 16, name FROM analytics_ids ORDER BY seq").fetchall()
    assert [ids for _, ids, _ in blocks] == [3, 3, 2]
    assert len({(day, name) for day, _, name in blocks}) == 1
    second.receive(lines(7))
    second.settle()
    check([first, second], tmp_path, {*range(8), 9})


def test_a_copied_directory_is_refused_until_it_is_another_instance(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, _, _ = hosts
    first.receive(lines(*range(5)))
    first.settle()
    shutil.copytree(first.data.root, tmp_path / "copied")
    copied = StoreHost(tmp_path / "copied", first.settings.store)
    first.receive(lines(5))
    first.settle()
    copied.receive(lines(6))
    with pytest.raises(StoreRefused, match="new-instance"):
        copied.publish()
    begin_as_another(copied.data, open_store(copied.settings, copied.instance))
    copied.settle()
    check([first, copied], tmp_path, set(range(7)))
    assert (totals(first)[0], totals(copied)[0]) == (6, 1)


def test_a_copied_directory_with_days_that_are_not_compared_any_more_is_refused(
    hosts: list[StoreHost],
) -> None:
    first, _, _ = hosts
    first.receive(lines(1))
    first.settle(NOON + 20 * DAY_MS)
    with pytest.raises(CountedElsewhere, match="empty directory"):
        begin_as_another(first.data, open_store(first.settings, first.instance))


def test_a_copied_directory_with_events_without_a_client_s_id_is_refused(hosts: list[StoreHost]) -> None:
    first = hosts[0]
    first.receive([line(make_event_ids(1, NOON)[0])])
    first.settle()
    with pytest.raises(CountedElsewhere, match="without an id of the client"):
        begin_as_another(first.data, open_store(first.settings, first.instance))


def test_what_a_retired_host_published_counts_on_and_the_rest_is_free(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second, _ = hosts
    first.receive(lines(1, 2))
    first.settle()
    first.receive(lines(3))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="gone"):
        patch.setattr(PostgresStore, "publish", lost)  # it has claimed, and dies
        first.publish()
    second.receive(lines(1, 3))
    second.settle()
    assert totals(second)[0] == 0
    retire_instance(second.data, second.settings, open_store(second.settings, second.instance), UUID(first.instance))
    second.settle()
    assert counted_ids(second.settings.store, tmp_path) == {f"event-{number:06}": 1 for number in (1, 2, 3)}
    assert totals(second)[0] == 1
    with pytest.raises(StoreRefused, match="retired"):
        first.publish()


def test_a_visitor_is_erased_on_every_host(hosts: list[StoreHost], tmp_path: Path) -> None:
    for host, number in zip(hosts, (7, 14, 1), strict=True):
        host.receive(lines(number, number + 1))
        host.settle()
    create_request(hosts[0].data, "v0", None)
    for host in (*hosts, *hosts):
        host.erase()
        host.settle()
    assert counted_ids(hosts[0].settings.store, tmp_path) == {f"event-{n:06}": 1 for n in (8, 15, 1, 2)}
    with connected(hosts[0].settings.store) as connection:
        ((visitor, confirmed, is_ended),) = connection.execute(
            "SELECT visitor, cardinality(confirmed), ended_at IS NOT NULL FROM analytics_orders"
        ).fetchall()
    assert (visitor, confirmed, is_ended) == (None, 3, True)
    assert [path for host in hosts for path in host.data.private.glob("*-*.json")] == []


def lost(*_given: object) -> None:
    raise OSError("gone")


@pytest.mark.long  # in short: test_interleavings.py
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.whole) for seed in (1, 2, 3))])
def test_random_hosts_count_each_id_once(hosts: list[StoreHost], tmp_path: Path, seed: int) -> None:
    pick = random.Random(seed)
    sent: set[int] = set()
    for turn in range(25):
        host = pick.choice(hosts)
        if pick.random() < 0.5:
            numbers = [pick.randrange(60 + 4 * turn) for _ in range(pick.randint(1, 12))]
            host.receive([each for number in numbers for each in lines(number, day=-(number * 7 % 3))])
            sent.update(numbers)
        elif pick.random() < 0.7:
            with suppress(IdsClaimedElsewhere):
                host.publish()
        else:
            host.carry_out()
    for host in hosts:
        host.settle()
    check(hosts, tmp_path, sent)
