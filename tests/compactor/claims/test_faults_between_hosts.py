"""What may happen between hosts that are all well: they publish at once, have one
identity, or clocks that do not agree. No id is lost, and none counts twice.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from ingest.collect.encode import Line
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.postgres import connection as connections
from shared.stores.postgres.absorb import CLAIM_LOCK
from tests.builders.archive import HOUR_MS
from tests.builders.cut_connection import Side, cutting
from tests.builders.logs import NOON, line
from tests.builders.postgres import Server
from tests.builders.store_hosts import StoreHost, counted_ids
from tests.builders.stores import wrong
from tests.builders.waiting import until

pytestmark = pytest.mark.component
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def hosts(server: Server, tmp_path: Path) -> list[StoreHost]:
    address = server.database()
    return [StoreHost(tmp_path / name, address) for name in "abc"]


def lines(*numbers: int, at: int = NOON) -> list[Line]:
    return [line(f"event-{number:06}", at, at, visitor=f"visitor-{number % 7}") for number in numbers]


def once(*numbers: int) -> dict[str, int]:
    return dict.fromkeys((f"event-{number:06}" for number in numbers), 1)


def at_once(*doing: Callable[[], None]) -> None:
    """Each in a thread. Raises what one of them raised."""
    failed: list[BaseException] = []
    ready = threading.Barrier(len(doing))

    def run(do: Callable[[], None]) -> None:
        ready.wait()
        try:
            do()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in doing]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def assert_as_published(host: StoreHost) -> None:
    """What the store has of a host is what its directory has."""
    assert wrong(host.data, open_store(host.settings, host.instance)) == []


@pytest.mark.long
def test_hosts_that_publish_at_once_count_each_id_once(hosts: list[StoreHost], tmp_path: Path) -> None:
    for turn in range(2):
        first = 10 * turn
        for host, own in zip(hosts, (0, 2, 4), strict=True):  # each has some of the next one, and all have some
            host.receive(lines(*range(first + own, first + own + 4), first + 9))
        at_once(*(host.settle for host in hosts))
    for _ in hosts:  # what one yielded late
        for host in hosts:
            host.settle()
    assert counted_ids(hosts[0].settings.store, tmp_path) == once(*range(8), 9, *range(10, 18), 19)
    for host in hosts:
        assert_as_published(host)


# psycopg cannot close a cursor whose connection is lost, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("side", ["request", "answer"])
@pytest.mark.parametrize("step", [pytest.param(6, marks=pytest.mark.whole), 20])
def test_a_claim_that_meets_others_is_cut_off_anywhere(
    hosts: list[StoreHost], tmp_path: Path, side: Side, step: int
) -> None:
    """One host has claimed some of the ids that another one has, which yields them: its
    tries are cut, at each sixth message from the first claim to the publish after it,
    in the sample at each twentieth.
    """
    first, second = hosts[0], hosts[1]
    numbers, first_of = set[int](), 0
    with cutting(first.settings.store) as cut:
        through = StoreHost(second.data.root, cut.address)
        for at in range(1, 1_000, step):
            shared, own = range(first_of, first_of + 2), range(first_of + 2, first_of + 4)
            first_of += 4
            first.receive(lines(*shared))
            first.settle()
            second.receive(lines(*shared, *own))
            numbers |= {*shared, *own}
            cut.next_at(at, side)
            with suppress(StoreUnavailable):
                through.settle()
            is_whole = cut.messages < at
            cut.next_at(None)
            second.settle()
            if at % 5 == 0 or is_whole:
                assert counted_ids(first.settings.store, tmp_path) == once(*numbers), at
                assert_as_published(second)
            if is_whole:
                break
    assert at > 30


def test_of_two_hosts_with_one_identity_one_publishes(hosts: list[StoreHost], tmp_path: Path) -> None:
    """While both get events. The other one is told what to type."""
    first = hosts[0]
    first.receive(lines(*range(5)))
    first.settle()
    shutil.copytree(first.data.root, tmp_path / "copied")
    pair = [first, StoreHost(tmp_path / "copied", first.settings.store)]
    outcomes: list[list[Exception | None]] = [[], []]

    def live(number: int) -> None:
        for turn in range(3):
            pair[number].receive(lines(100 * (number + 1) + turn))
            try:
                pair[number].settle()
            except (StoreRefused, StoreUnavailable) as error:
                outcomes[number].append(error)
            else:
                outcomes[number].append(None)

    at_once(lambda: live(0), lambda: live(1))
    winner = 0 if outcomes[0][-1] is None else 1
    refused = outcomes[1 - winner]
    assert outcomes[winner][-1] is None
    assert isinstance(refused[-1], StoreRefused) and "new-instance" in str(refused[-1])
    assert None not in refused  # it has never published, not even in the beginning
    theirs = [100 * (winner + 1) + turn for turn in range(3)]
    assert counted_ids(first.settings.store, tmp_path) == once(*range(5), *theirs)
    assert_as_published(pair[winner])


def test_a_publish_of_the_same_identity_in_flight_is_not_taken_for_ones_own(hosts: list[StoreHost]) -> None:
    """The other one has claimed, and its publish commits while this one waits to begin
    an epoch.
    """
    first = hosts[0]
    first.receive(lines(*range(5)))
    first.settle()
    first.receive(lines(10))
    with psycopg.connect(first.settings.store, autocommit=True) as watching, watching.cursor() as other:
        other.execute("UPDATE analytics_folded SET claims = gen_random_uuid()")
        refused: list[BaseException] = []

        def publish() -> None:
            with pytest.raises((StoreRefused, StoreUnavailable)) as caught:
                first.publish()
            refused.append(caught.value)

        with psycopg.connect(first.settings.store) as publishing:
            publishing.execute("UPDATE analytics_folded SET generation = generation + 1, snapshot_sha256 = 'theirs'")
            thread = threading.Thread(target=publish)
            thread.start()
            until(lambda: count_waiting(other))
        thread.join()
        row = other.execute("SELECT snapshot_sha256 FROM analytics_folded").fetchone()
    assert refused and row == ("theirs",)


def count_waiting(cursor: psycopg.Cursor[tuple[int]]) -> int:
    """How many sessions of this database wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    found = cursor.execute(sql).fetchone()
    return found[0] if found else 0


@pytest.mark.parametrize(
    "hours", [5, pytest.param(-5, marks=pytest.mark.long), pytest.param(23, marks=pytest.mark.long)]
)
def test_clocks_that_are_hours_apart_double_nothing(hosts: list[StoreHost], tmp_path: Path, hours: int) -> None:
    clocks = (NOON, NOON + hours * HOUR_MS)
    for turn in range(3):
        for host, now in zip(hosts[:2], clocks, strict=True):
            at = now + turn * HOUR_MS
            host.receive(lines(turn, 10 * turn + 100, at=at), at)
            host.settle(at)
    for host, now in zip(hosts[:2], clocks, strict=True):
        host.settle(now + 3 * HOUR_MS)
        assert_as_published(host)
    assert counted_ids(hosts[0].settings.store, tmp_path) == once(0, 1, 2, 100, 110, 120)


@pytest.mark.long
def test_a_clock_that_jumps_a_month_prunes_nothing_of_others(server: Server, tmp_path: Path) -> None:
    """With retentions of a week; then the clock is right again."""
    address = server.database()
    retention = {"log_retention_days": 7, "archive_retention_days": 7}
    first, second, third = (StoreHost(tmp_path / name, address, **retention) for name in "abc")
    for number, host in enumerate((first, second)):
        host.receive(lines(number))
        host.settle()
    later = NOON + 31 * DAY_MS
    for now in (later, later + HOUR_MS):
        second.receive(lines(10 + (now > later), at=now), now)
        second.settle(now)
        assert_as_published(first)
    third.receive(lines(0, 1))  # what the others have claimed
    third.settle()
    second.receive(lines(20))
    second.settle()
    found = counted_ids(address, tmp_path)
    assert {id_: found[id_] for id_ in once(0, 1, 20)} == once(0, 1, 20)
    assert set(found.values()) == {1}
    for host in (first, second, third):
        assert_as_published(host)


def test_a_lock_that_another_session_holds_delays_claims_and_loses_nothing(
    hosts: list[StoreHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOCK_TIMEOUT_MS", 200)
    first = hosts[0]
    first.receive(lines(0))
    first.settle()
    with psycopg.connect(first.settings.store, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (CLAIM_LOCK,))
        for number in (1, 2):
            first.receive(lines(number))
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                first.publish()
    first.settle()
    assert counted_ids(first.settings.store, tmp_path) == once(0, 1, 2)
    assert_as_published(first)
