"""What could break P7 over hosts, or keep one of them from publishing: found by trying
to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from compactor.claims.claim import IdsClaimedElsewhere
from compactor.claims.claims_table import claiming
from compactor.lock import compactor_lock
from compactor.process import fold_and_erase
from compactor.publishing.publish import take_back
from compactor.publishing.publisher import publish_logged
from compactor.repair.rebuild import rebuild
from compactor.run_pass import recover_abandoned_segments
from ingest.collect.encode import Line, encode_lines
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.stores.ledger import StoreUnavailable
from shared.stores.open_store import open_store
from shared.timestamps import now_ms
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost, counted_ids

DAY_MS = 24 * HOUR_MS
X = "event-000001"
pytestmark = pytest.mark.component


@pytest.fixture
def hosts(server: Server, tmp_path: Path) -> list[StoreHost]:
    address = server.database()
    return [StoreHost(tmp_path / name, address) for name in "ab"]


def lines(*ids: int, at: int = NOON) -> list[Line]:
    return [line(f"event-{number:06}", at, at) for number in ids]


def copy_database(server: Server, source: str, target: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {target} TEMPLATE {source}".encode())


@pytest.mark.long
def test_one_copy_a_round_stops_no_publishing(hosts: list[StoreHost]) -> None:
    now = now_ms()
    for number in range(1, 9):
        for host in hosts:
            sealed(host.data, lines(number, at=now))
            with compactor_lock(host.data) as lock:
                fold_and_erase(host.data, host.settings, SilentLog(), lock)
            publish_logged(host.data, host.settings, SilentLog())
    held = [open_store(host.settings, host.instance).position() for host in hosts]
    assert [each.generation > 0 for each in held if each] == [True, True]


def test_a_rebuild_does_not_count_what_was_yielded(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second = hosts
    first.receive(lines(1))
    second.receive(lines(1, 2))
    later = NOON + 10 * DAY_MS
    for at in (NOON, later, later):
        first.settle(at)
        second.settle(at)
    rebuild(second.data, second.settings, SilentLog(), later, dry_run=False)
    second.settle(later)
    assert counted_ids(first.settings.store, tmp_path) == {X: 1, "event-000002": 1}


def test_a_renewal_whose_answer_is_lost_is_compared_again(
    server: Server, hosts: list[StoreHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hosts
    for number, host in enumerate(hosts, 2):
        host.receive(lines(number))
        host.settle()
    main = first.settings.store.split("/")[3].split("?")[0]

    copy_database(server, main, "backup_one")
    first.receive(lines(1))
    first.settle()
    copy_database(server, "backup_one", main)  # the store forgets that the first has X
    second.receive(lines(1))
    second.settle()

    @contextmanager
    def lost_answer(connection: Any) -> Iterator[None]:
        with claiming(connection):
            yield
        raise StoreUnavailable("the store", "connection lost at COMMIT")

    with monkeypatch.context() as patch, pytest.raises(StoreUnavailable):
        patch.setattr("compactor.claims.claim.claiming", lost_answer)
        first.publish()
    first.settle()
    second.settle()
    assert counted_ids(first.settings.store, tmp_path)[X] == 1


def test_a_host_that_was_off_doubles_nothing(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second = hosts
    second.receive(lines(3))
    second.settle()
    (second.data.log / "active-0.ndjson").write_bytes(encode_lines(lines(1)))  # acknowledged; the power fails
    first.receive(lines(1))
    first.settle()
    later = NOON + 14 * DAY_MS
    for host in (first, second, first):  # the publisher of the second starts before its first round
        host.settle(later)
    recover_abandoned_segments(second.data, SilentLog())
    fold_all(second.data, later)
    second.settle(later)
    assert counted_ids(first.settings.store, tmp_path)[X] == 1


def test_an_erasure_leaves_the_yielded_events_of_others(hosts: list[StoreHost]) -> None:
    first, second = hosts
    first.receive(lines(1))
    first.settle()
    second.receive([*lines(1), line("event-000002", visitor="gone")])
    second.settle()
    create_request(second.data, "gone", None)
    second.erase()
    (day,) = load_snapshot(second.data).days.values()
    assert (len(day.archive), sum(part.rows for part in day.yielded)) == (0, 1)


def test_a_clock_that_is_ahead_deletes_no_claims_of_today(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second = hosts
    now = now_ms()
    first.receive(lines(1, at=now), now)
    first.settle(now + 365 * DAY_MS)
    second.receive(lines(1, at=now), now)
    second.settle(now)
    assert counted_ids(first.settings.store, tmp_path) == {X: 1}


@pytest.mark.parametrize("name", ["known_claims", pytest.param("claim_outcome", marks=pytest.mark.long)])
def test_a_damaged_file_of_claims_is_made_again(hosts: list[StoreHost], tmp_path: Path, name: str) -> None:
    first, second = hosts
    for host in hosts:
        host.receive(lines(1))
    first.settle()
    with pytest.raises(IdsClaimedElsewhere):
        second.publish()
    path: Path = getattr(second.data, name)
    path.write_bytes(b"damaged " * 4_096)
    second.carry_out()
    with suppress(duckdb.Error, IdsClaimedElsewhere):
        second.publish()
    second.settle()
    assert counted_ids(first.settings.store, tmp_path) == {X: 1}


def test_an_outcome_that_was_overtaken_loses_nothing(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second = hosts
    first.receive(lines(1))
    first.settle()
    second.receive(lines(1))
    with pytest.raises(IdsClaimedElsewhere):
        second.publish()  # X is to be yielded
    take_back(first.data, first.settings, open_store(first.settings, first.instance))
    second.publish()  # claims and publishes X; the outcome of before stays
    second.carry_out()  # yields X to a claim that has ended
    for host in (second, first, second, first):
        host.settle()
    assert counted_ids(first.settings.store, tmp_path) == {X: 1}


def test_what_another_host_claims_while_this_one_waits_for_the_lock_is_yielded(
    hosts: list[StoreHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hosts
    second.receive(lines(1))
    first.receive(lines(1))

    @contextmanager
    def late(connection: Any) -> Iterator[None]:
        monkeypatch.undo()
        first.settle()
        with claiming(connection):
            yield

    monkeypatch.setattr("compactor.claims.claim.claiming", late)
    second.settle()
    assert counted_ids(first.settings.store, tmp_path) == {X: 1}


def test_a_number_of_a_block_that_is_used_again_is_noticed(
    server: Server, hosts: list[StoreHost], tmp_path: Path
) -> None:
    first, second = hosts
    third = StoreHost(tmp_path / "c", first.settings.store)
    for number, host in enumerate((*hosts, third), 2):
        host.receive(lines(number))
        host.settle()
    main = first.settings.store.split("/")[3].split("?")[0]
    copy_database(server, main, "backup_two")
    first.receive(lines(9))
    first.settle()
    second.settle()  # it knows that block
    copy_database(server, "backup_two", main)
    third.receive(lines(1))
    third.settle()
    second.receive(lines(1))
    second.settle()
    assert counted_ids(first.settings.store, tmp_path)[X] == 1
