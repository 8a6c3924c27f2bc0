"""Takeover: an empty directory continues an instance with everything that its store
has, and the host before can do nothing more.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from compactor.attempt import Attempt
from compactor.claims.claim import open_host, place_in_store
from compactor.claims.known_claims import open_known_claims
from compactor.claims.standing import Standing
from compactor.fold.verify_segments import Piece
from compactor.lock import compactor_lock
from compactor.publishing.publish import retire_instance
from compactor.repair.directory_check import check_directory
from compactor.repair.verify import verify
from compactor.run_pass import run_pass
from compactor.takeover.takeover import Takeover, take_over
from ingest.collect.encode import Line, encode_lines
from ingest.wal.commit_queue import CommitQueue
from ingest.wal.store_log import TakenOver
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from shared.segments.recovery import next_sequence
from shared.segments.sealed import sealed_segments
from shared.stores.instance import Instance, NotEmpty, OtherInstance, read_instance, wants_takeover, write_instance
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from tests.builders.archive import HOUR_MS
from tests.builders.cut_connection import Side, cutting
from tests.builders.logs import NOON, fold_all, line
from tests.builders.postgres import Server
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost, counted_ids, totals
from tests.builders.stores import queried

pytestmark = pytest.mark.component
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def store(server: Server) -> str:
    return server.database()


def lines(*numbers: int, day: int = 0) -> list[Line]:
    return [line(f"event-{number:06}", NOON + day * DAY_MS, visitor=f"v{number % 7}") for number in numbers]


def host_of(root: Path, store: str, **settings: Any) -> StoreHost:
    return StoreHost(root, store, durability="store", **settings)


async def receive(host: StoreHost, *batches: list[Line], writer: str = "0") -> None:
    """Acknowledge events, each batch in a segment of its own."""
    for batch in batches:
        queue = CommitQueue(host.data, writer, host.settings, SilentLog())
        await queue.append(encode_lines(batch), len(batch))
        await queue.close()


def fold(host: StoreHost) -> None:
    fold_all(host.data, NOON)


def took_over(host: StoreHost, instance: UUID) -> Takeover:
    with compactor_lock(host.data) as lock:
        done = take_over(host.data, host.settings, SilentLog(), lock, instance, NOON)
        check_directory(host.data, SilentLog(), lock)
    return done


def standing_of(host: StoreHost, tmp_path: Path) -> Standing:
    spill = tmp_path / "spill"
    known = open_known_claims(tmp_path / "claims.duckdb", 256 << 20, spill)
    with connected(host.settings.store) as connection, known as database:
        there = open_host(host.data, database, connection, UUID(host.instance), "the store")
        return place_in_store(there, "host", "UTC")[2]


def check(host: StoreHost, tmp_path: Path, numbers: set[int]) -> None:
    """Once folded and published, each event counts once."""
    fold(host)
    host.settle()
    assert counted_ids(host.settings.store, tmp_path) == dict.fromkeys((f"event-{n:06}" for n in numbers), 1)
    assert totals(host)[0] == len(numbers)
    assert verify(host.data, host.settings, lambda _: None).findings == []


async def test_what_is_published_and_what_came_since_are_there(tmp_path: Path, store: str) -> None:
    old, new = host_of(tmp_path / "old", store), host_of(tmp_path / "new", store)
    await receive(old, lines(*range(10)), lines(*range(10, 20), day=-2))
    fold(old)
    old.settle()
    await receive(old, lines(*range(20, 25)))
    fold(old)  # and never published
    await receive(old, lines(*range(25, 30)))
    await receive(old, lines(30, 31), writer="import")
    instance = UUID(old.instance)
    shutil.rmtree(old.data.root)
    done = took_over(new, instance)
    assert (done.segments, done.lines, done.is_new) == (3, 12, False)
    assert standing_of(new, tmp_path) is Standing.AS_NOTED
    assert next_sequence(new.data, "0") == 5
    # What is sent again is a duplicate, by the indexes of ids that were made again.
    await receive(new, lines(*range(32)), lines(*range(10, 20), day=-2))
    check(new, tmp_path, set(range(32)))
    assert queried(store, "SELECT count(*) FROM analytics_log") == [(0,)]


async def test_claims_of_what_is_published_stay(tmp_path: Path, store: str) -> None:
    old, other, new = (host_of(tmp_path / name, store) for name in ("old", "other", "new"))
    await receive(old, lines(1, 2, 3))
    await receive(other, lines(3, 4))
    for each in (old, other):
        fold(each)
        each.settle()
    took_over(new, UUID(old.instance))
    await receive(other, lines(1, 2))
    fold(other)
    other.settle()
    new.settle()
    assert counted_ids(store, tmp_path) == dict.fromkeys((f"event-{n:06}" for n in (1, 2, 3, 4)), 1)
    assert (totals(new)[0], totals(other)[0]) == (3, 1)


async def test_nothing_published_yet(tmp_path: Path, store: str) -> None:
    old, new = host_of(tmp_path / "old", store), host_of(tmp_path / "new", store)
    await receive(old, lines(1, 2), lines(2, 3))
    done = took_over(new, UUID(old.instance))
    assert (done.generation, done.segments, done.lines) == (0, 2, 4)
    assert standing_of(new, tmp_path) is Standing.AS_NOTED
    check(new, tmp_path, {1, 2, 3})


async def test_the_host_before_acknowledges_and_publishes_nothing(tmp_path: Path, store: str) -> None:
    old, new = host_of(tmp_path / "old", store), host_of(tmp_path / "new", store)
    queue = CommitQueue(old.data, "0", old.settings, SilentLog())
    await queue.append(encode_lines(lines(1)), 1)
    took_over(new, UUID(old.instance))
    with pytest.raises(TakenOver):
        await queue.append(encode_lines(lines(2)), 1)
    await queue.close()
    fold(old)
    with pytest.raises((StoreRefused, StoreUnavailable)):
        old.publish()
    check(new, tmp_path, {1})
    with pytest.raises((StoreRefused, StoreUnavailable)):
        old.publish()
    assert counted_ids(store, tmp_path) == {"event-000001": 1}


async def test_an_instance_that_the_store_does_not_know_begins(tmp_path: Path, store: str) -> None:
    new, instance = host_of(tmp_path / "new", store), uuid.uuid4()
    assert took_over(new, instance) == Takeover(instance, 0, 0, 0, is_new=True)
    assert UUID(new.instance) == instance
    await receive(new, lines(1))
    check(new, tmp_path, {1})


async def test_a_takeover_that_was_killed_begins_again(tmp_path: Path, store: str) -> None:
    old, new = host_of(tmp_path / "old", store), host_of(tmp_path / "new", store)
    await receive(old, lines(1, 2))
    fold(old)
    old.settle()
    await receive(old, lines(3))
    instance = UUID(old.instance)
    took_over(new, instance)
    # Killed before its last step; then another directory took over, and published.
    write_instance(new.data, Instance(instance, uuid.uuid4(), is_taking_over=True))
    third = host_of(tmp_path / "third", store)
    took_over(third, instance)
    await receive(third, lines(4))
    check(third, tmp_path, {1, 2, 3, 4})
    assert took_over(new, instance).lines == 0
    found = read_instance(new.data)
    assert found and not found.is_taking_over
    await receive(new, lines(5))
    check(new, tmp_path, {1, 2, 3, 4, 5})


# psycopg cannot close a cursor whose connection is lost, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("side", "step"),
    [("request", 5), *(pytest.param(side, 1, marks=pytest.mark.long) for side in ("request", "answer"))],
)
async def test_a_takeover_that_is_cut_off_at_any_statement_begins_again(
    tmp_path: Path, store: str, side: Side, step: int
) -> None:
    old = host_of(tmp_path / "old", store)
    await receive(old, lines(*range(5)))
    fold(old)
    old.settle()
    await receive(old, lines(5))
    instance = UUID(old.instance)
    with cutting(store) as cut:
        cut.next_at(None)
        took_over(host_of(tmp_path / "counted", cut.address), instance)
        messages = cut.messages
        assert messages > 5
        for at in range(1, messages + 1, step):
            new = host_of(tmp_path / f"new-{at}", cut.address)
            cut.next_at(at, side)
            with suppress(StoreUnavailable):  # none where it said good-bye
                took_over(new, instance)
            cut.next_at(None)
            again = host_of(new.data.root, store)
            if wants_takeover(new.data, instance):
                took_over(again, instance)
            (place := tmp_path / str(at)).mkdir()
            assert standing_of(again, place) is Standing.AS_NOTED, at
    check(again, tmp_path, set(range(6)))


async def test_a_directory_with_events_takes_nothing_over(tmp_path: Path, store: str) -> None:
    old, new = host_of(tmp_path / "old", store), host_of(tmp_path / "new", store)
    await receive(old, lines(1))
    await receive(new, lines(2))
    with pytest.raises(OtherInstance, match="FOLDLOG_DATA_DIR on an empty directory"):
        took_over(new, UUID(old.instance))
    with pytest.raises(NotEmpty, match="foldlog store restore"):
        took_over(new, UUID(new.instance))
    nobody = DataDirectory(tmp_path / "nobody")
    shutil.copytree(new.data.root, nobody.root)
    nobody.instance.unlink()
    with pytest.raises(OtherInstance):
        took_over(StoreHost(nobody.root, store), UUID(old.instance))


async def test_a_part_that_the_store_damaged_is_refused(tmp_path: Path, store: str) -> None:
    old, new = host_of(tmp_path / "old", store), host_of(tmp_path / "new", store)
    await receive(old, lines(1))
    fold(old)
    old.settle()
    with psycopg.connect(store) as connection:
        connection.execute("UPDATE analytics_parts SET body = body || 'x' WHERE kind = 'archive'")
    with pytest.raises(StoreRefused, match="is damaged"):
        took_over(new, UUID(old.instance))
    assert load_snapshot(new.data).generation == 0


async def test_a_segment_that_is_folded_in_part_is_folded_to_its_end(tmp_path: Path, store: str) -> None:
    old, new = host_of(tmp_path / "old", store), host_of(tmp_path / "new", store)
    queue = CommitQueue(old.data, "0", old.settings, SilentLog())
    for number in range(40):
        await queue.append(encode_lines(lines(number)), 1)
    await queue.close()
    with compactor_lock(old.data) as lock:
        attempt = Attempt(pieces=[Piece(sealed_segments(old.data)[0], 0, 2000)])
        run_pass(old.data, old.settings, SilentLog(), lock, NOON, attempt=attempt)
    published = load_snapshot(old.data)
    assert published.partial
    old.settle()
    took_over(new, UUID(old.instance))
    assert totals(new)[0] == published.totals.counted
    check(new, tmp_path, set(range(40)))


async def test_an_instance_with_lines_that_are_not_counted_is_not_retired(tmp_path: Path, store: str) -> None:
    gone, other = host_of(tmp_path / "gone", store), host_of(tmp_path / "other", store)
    await receive(gone, lines(1))
    other.settle()

    def retired() -> None:
        retire_instance(other.data, other.settings, open_store(other.settings, other.instance), UUID(gone.instance))

    with pytest.raises(StoreRefused, match="not counted yet"):
        retired()
    fold(gone)
    gone.settle()
    retired()
    assert counted_ids(store, tmp_path) == {"event-000001": 1}
