"""What an instance has published stays claimed, also where it was erased or has
expired, whatever befalls the instance: a late copy on another host does not count (P7).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from compactor.lock import compactor_lock
from compactor.publishing.publish import rebuild_store, retire_instance
from compactor.takeover.takeover import take_over
from ingest.collect.encode import Line
from shared.erasures import create_request
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from shared.stores.postgres.store import PostgresStore
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost, copies_of, counted_ids, totals

DAY_MS = 24 * HOUR_MS
BEFORE = NOON - 10 * DAY_MS
X = "event-000001"
OTHER = "event-000002"
pytestmark = pytest.mark.component


def hosts_of(root: Path, address: str) -> list[StoreHost]:
    return [StoreHost(root / name, address) for name in "ab"]


@pytest.fixture
def hosts(server: Server, tmp_path: Path) -> list[StoreHost]:
    return hosts_of(tmp_path, server.database())


@pytest.fixture(scope="module")
def of_erased(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[StoreHost]:
    """X was published, then erased."""
    first, second = hosts_of(tmp_path_factory.mktemp("erased"), server.database())
    first.receive([copy_of_x(), line(OTHER)])
    first.settle()
    create_request(first.data, "gone", None)
    for host in (first, second, first):
        host.erase()
        host.settle()
    return [first, second]


@pytest.fixture(scope="module")
def of_expired(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[StoreHost]:
    """X was published, and its archive has expired."""
    first, second = hosts_of(tmp_path_factory.mktemp("expired"), server.database())
    second.settle(BEFORE)  # claims are kept for what it has not folded
    for days in (10, 8, 6, 4, 2):  # the clock runs steadily, or nothing expires
        first.receive([copy_of_x(BEFORE)], NOON - days * DAY_MS)
    first.settle(BEFORE)
    sealed(first.data, [line(OTHER)])
    fold_all(first.data, NOON, archive_retention_days=7)
    first.settle()
    return [first, second]


def copy_of_x(at: int = NOON) -> Line:
    return line(X, at, visitor="gone")


def version_1(id_: str) -> Line:
    return line(id_, v=1, sender=None)


def execute(host: StoreHost, sql: str) -> None:
    with connected(host.settings.store) as connection:
        connection.execute(sql.encode())


# What may befall the first host.


def renew(first: StoreHost, _other: StoreHost, at: int) -> None:
    """The store was restored, and has lost the claims."""
    execute(first, f"DELETE FROM analytics_ids WHERE instance = '{first.instance}'")
    execute(first, "UPDATE analytics_folded SET claims = gen_random_uuid(), published_seq = 0")
    first.settle(at)


def renew_from_nothing(first: StoreHost, _other: StoreHost, at: int) -> None:
    """The store has the claims, and this host does not know them."""
    first.data.known_claims.unlink()
    execute(first, "UPDATE analytics_folded SET claims = gen_random_uuid()")
    first.settle(at)


def lose_disk(first: StoreHost, _other: StoreHost, at: int) -> None:
    new = StoreHost(first.data.root.with_name("new"), first.settings.store)
    with compactor_lock(new.data) as lock:
        take_over(new.data, new.settings, SilentLog(), lock, UUID(first.instance), at)


def retire(first: StoreHost, other: StoreHost, _at: int) -> None:
    retire_instance(other.data, other.settings, open_store(other.settings, other.instance), UUID(first.instance))


def rebuild(first: StoreHost, _other: StoreHost, _at: int) -> None:
    rebuild_store(first.data, first.settings, open_store(first.settings, first.instance))


Blow = Callable[[StoreHost, StoreHost, int], None]
# Of an erased id and of one whose archive has expired, the same is kept.
LONG = pytest.mark.long


@pytest.mark.parametrize("blow", [renew, pytest.param(renew_from_nothing, marks=LONG), lose_disk, retire, rebuild])
def test_an_erased_id_stays_claimed(of_erased: list[StoreHost], server: Server, tmp_path: Path, blow: Blow) -> None:
    first, second = copies_of(of_erased, server, tmp_path)
    blow(first, second, NOON)
    second.receive([copy_of_x()])
    second.settle()
    assert counted_ids(second.settings.store, tmp_path) == {OTHER: 1}


@pytest.mark.parametrize(
    "blow", [renew_from_nothing, *(pytest.param(each, marks=LONG) for each in (renew, lose_disk, retire, rebuild))]
)
def test_an_id_whose_archive_has_expired_stays_claimed(
    of_expired: list[StoreHost], server: Server, tmp_path: Path, blow: Blow
) -> None:
    first, second = copies_of(of_expired, server, tmp_path)
    assert counted_ids(first.settings.store, tmp_path) == {OTHER: 1}
    blow(first, second, NOON)
    second.receive([copy_of_x(BEFORE)])
    second.settle()
    assert counted_ids(second.settings.store, tmp_path) == {OTHER: 1}


@pytest.mark.parametrize("blow", [lose_disk, pytest.param(retire, marks=LONG)])
def test_what_was_never_published_is_released(hosts: list[StoreHost], tmp_path: Path, blow: Blow) -> None:
    first, second = hosts
    first.receive([line(OTHER)])
    first.settle()
    claim_and_die(first)
    blow(first, second, NOON)
    second.receive([copy_of_x()])
    second.settle()
    assert counted_ids(second.settings.store, tmp_path) == {X: 1, OTHER: 1}


def test_what_was_released_is_not_claimed_again(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second = hosts
    first.receive([line(OTHER)])
    first.settle()
    claim_and_die(first)
    new = StoreHost(tmp_path / "new", first.settings.store)
    with compactor_lock(new.data) as lock:
        take_over(new.data, new.settings, SilentLog(), lock, UUID(first.instance), NOON)
    execute(first, "UPDATE analytics_folded SET claims = gen_random_uuid()")  # restored, to right after that
    new.settle()
    second.receive([copy_of_x()])
    second.settle()
    assert counted_ids(second.settings.store, tmp_path) == {X: 1, OTHER: 1}


def claim_and_die(host: StoreHost) -> None:
    """Claim X for a generation that is never published."""
    host.receive([copy_of_x()])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="gone"):
        patch.setattr(PostgresStore, "publish", lost)
        host.publish()


def lost(*_given: object) -> None:
    raise OSError("gone")


# An id of version 1 is claimed under each sender, and counts under all or none.


def test_a_yielded_id_of_version_1_is_claimed_under_no_sender(hosts: list[StoreHost], tmp_path: Path) -> None:
    first, second = hosts
    first.receive([line(X, sender="key")])
    first.settle()
    second.receive([version_1(X), version_1(OTHER)])
    second.settle()
    assert totals(second) == (1, 1)
    with connected(first.settings.store) as connection:
        claimed = connection.execute("SELECT instance::text, sum(length(ids) / 16) FROM analytics_ids GROUP BY 1")
        assert dict(claimed.fetchall()) == {first.instance: 1, second.instance: 3}
    first.receive([line(X, sender="page"), line(X, sender="import")])
    first.settle()
    assert counted_ids(first.settings.store, tmp_path) == {X: 3, OTHER: 1}


@pytest.mark.parametrize("gone", ["min", pytest.param("max", marks=LONG)])
def test_a_new_epoch_claims_a_yielded_id_of_version_1_under_all_senders_or_none(
    hosts: list[StoreHost], tmp_path: Path, gone: str
) -> None:
    first, second = hosts
    for sender in ("page", "key"):
        first.receive([line(X, sender=sender)])
        first.settle()
    second.receive([version_1(X)])
    second.settle()
    # The store was restored, and has one of both claims.
    execute(first, f"DELETE FROM analytics_ids WHERE seq = (SELECT {gone}(seq) FROM analytics_ids)")
    execute(first, "UPDATE analytics_folded SET claims = gen_random_uuid()")
    for host in (second, first, second):
        host.settle()
    assert totals(second) == (0, 1)
    assert counted_ids(first.settings.store, tmp_path) == {X: 2}
