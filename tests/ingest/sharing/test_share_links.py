"""Share links of all hosts of a PostgreSQL store: made on any of them, opened on all,
and never open again once any has revoked them, whatever is restored or down meanwhile.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import resources
from itertools import permutations
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest.share_links.links import (
    FILE_MAX_BYTES,
    LINKS_MAX,
    REVOKED_MAX,
    NoRoomForLinks,
    ShareLink,
    TooManyLinks,
    merge_links,
    new_link,
    parse_links,
    with_link,
    without_link,
)
from ingest.share_links.links_file import add_link, merge_into_links, read_links, revoke_link
from ingest.share_links.session import HEADER
from ingest.sharing.share_links import SharedLinks
from ingest.sharing.turns import Turns
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock
from shared.disk.marks import set_mark
from shared.stores.ledger import StoreUnavailable
from tests.builders.postgres import Server as Postgres
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required
from tests.builders.server import ADMIN_TOKEN, Answer, bearer
from tests.builders.silent_log import SilentLog
from tests.builders.stores import executed
from tests.builders.waiting import TIMEOUT_S, until
from tests.builders.worker import Worker

SHARES, SESSION, STATUS = "/admin/api/shares", "/admin/api/share-session", "/admin/api/status"
SITE = "shop.example"
PASSWORD = "correct horse"  # noqa: S105
JSON = {"Content-Type": "application/json"}


class Host:
    """One host, whose turns the test takes."""

    def __init__(self, root: Path, address: str) -> None:
        self.data = DataDirectory(root)
        make_data_directory(self.data)
        self.log = SilentLog()
        self.shared = SharedLinks(self.data, address)

    def add(self, name: str = "a") -> str:
        link, _ = new_link(SITE, name)
        self.shared.add(link)
        return link.id

    @property
    def ids(self) -> set[str]:
        return {each.id for each in read_links(self.data).links}


Made = Callable[..., Host]


@pytest.fixture
def host(tmp_path: Path, address: str) -> Made:
    def make(name: str, store: str = address) -> Host:
        return Host(tmp_path / name, store)

    return make


def link_bytes(*links: ShareLink) -> bytes:
    content = b"[]"
    for each in links:
        content = with_link(content, each)
    return content


@pytest.mark.component
def test_link_of_one_host_is_one_of_all_until_any_revokes_it(host: Made) -> None:
    one, other = host("one"), host("other")
    made = one.add()
    assert one.ids == {made}, "at once where it was made"
    other.shared.turn()
    assert read_links(other.data).links == read_links(one.data).links, "with its key and hashes"
    assert other.data.shares.stat().st_mode & 0o777 == 0o600
    set_mark(one.data.last_use(made), 1)
    assert other.shared.revoke(made)
    assert other.ids == set()
    other.shared.turn()
    one.shared.turn()
    assert (one.ids, one.data.last_use(made).exists()) == (set(), False)
    assert not one.shared.revoke(made)


@pytest.mark.component
def test_revoked_link_is_gone_though_the_other_host_makes_one_at_the_same_time(host: Made) -> None:
    one, other = host("one"), host("other")
    revoked, kept = one.add(), one.add()
    other.shared.turn()
    assert other.shared.revoke(revoked)
    made = one.add()
    add_link(one.data, (by_hand := new_link(SITE, "by hand"))[0])
    for each in (other, one, other):
        each.shared.turn()
    assert one.ids == other.ids == {kept, made, by_hand[0].id}


@pytest.mark.component
def test_directory_that_is_restored_brings_no_revoked_link_back(host: Made) -> None:
    one, other = host("one"), host("other")
    revoked = one.add()
    before = one.data.shares.read_bytes()
    other.shared.turn()
    assert other.shared.revoke(revoked)
    other.shared.turn()
    one.shared.turn()
    one.data.shares.write_bytes(before)
    for each in (one, other):
        each.shared.turn()
        assert each.ids == set()
    one.data.shares.write_bytes(before)
    made = one.add()
    assert one.ids == {made}


@pytest.mark.component
def test_store_that_is_restored_brings_no_revoked_link_back(host: Made, address: str) -> None:
    one, other = host("one"), host("other")
    revoked = one.add()
    executed(address, "CREATE TABLE backup AS TABLE analytics_documents")
    other.shared.turn()
    assert other.shared.revoke(revoked)
    other.shared.turn()
    made = other.add()
    restore = "DELETE FROM analytics_documents; INSERT INTO analytics_documents TABLE backup"
    executed(address, restore)
    one.shared.turn()
    other.shared.turn()
    one.shared.turn()
    assert one.ids == other.ids == {made}
    executed(address, "DELETE FROM analytics_documents")
    third = host("third").add()
    for each in (one, other, one):
        each.shared.turn()
    assert one.ids == other.ids == {made, third}


@pytest.mark.component
def test_link_of_another_host_is_revoked_before_this_one_has_had_a_turn(host: Made, postgres: Postgres) -> None:
    one, other = host("one"), host("other")
    made, later = one.add(), one.add()
    assert other.shared.revoke(made)
    assert other.ids == {later}
    assert not other.shared.revoke("00000000") and not other.shared.revoke("../tokens")
    unknown = host("unknown")
    postgres.stop()
    try:
        assert unknown.shared.revoke(later), "it may be one of another host"
        assert not unknown.shared.revoke(later)
    finally:
        postgres.start()
    for each in (unknown, one):
        each.shared.turn()
        assert each.ids == set()


@pytest.mark.component
def test_store_that_is_down_refuses_new_links_and_no_revocation(host: Made, postgres: Postgres) -> None:
    one, other = host("one"), host("other")
    revoked, kept = one.add(), one.add()
    other.shared.turn()
    turns = Turns(one.shared, one.log)
    postgres.stop()
    try:
        turns.turn()
        with pytest.raises(StoreUnavailable):
            one.add()
        assert one.ids == {revoked, kept}
        assert one.shared.revoke(revoked)
        assert one.ids == {kept}
    finally:
        postgres.start()
    turns.turn()
    other.shared.turn()
    assert one.ids == other.ids == {kept}
    assert one.log.events() == ["store_shares_failed", "store_shares_shared"]


@pytest.mark.component
def test_turn_that_waits_for_the_store_delays_no_revocation(host: Made, address: str) -> None:
    one = host("one")
    revoked = one.add()
    add_link(one.data, new_link(SITE, "unpublished")[0])
    turns = Turns(one.shared, one.log)
    with psycopg.connect(address) as connection:
        connection.execute("SELECT FROM analytics_documents FOR UPDATE")
        turns.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: executed(address, waiting) == [(1,)])
        with owner_lock(one.data.shares_lock, 0):
            pass
        assert one.shared.revoke(revoked)
    until(lambda: is_revoked_in(address, revoked))
    turns.stop()


def is_revoked_in(address: str, link_id: str) -> bool:
    ((content,),) = executed(address, "SELECT content FROM analytics_documents")
    return parse_links(content).has_revoked(link_id)


class RarelySharedLinks(SharedLinks):
    def __init__(self, data: DataDirectory, store: str) -> None:
        super().__init__(data, store)
        self.taken = threading.Event()

    def pause_s(self) -> float:
        """Called after each turn."""
        self.taken.set()
        return 3600.0


@pytest.mark.component
def test_turn_that_is_wanted_soon_waits_for_no_other(host: Made, address: str) -> None:
    one = host("one")
    revoked = one.add()
    rarely = RarelySharedLinks(one.data, address)
    turns = Turns(rarely, one.log)
    turns.start()
    assert rarely.taken.wait(TIMEOUT_S)
    assert one.shared.revoke(revoked)
    turns.soon()
    until(lambda: is_revoked_in(address, revoked))
    turns.stop()


@pytest.mark.component
def test_damaged_file_is_kept_aside_and_the_links_come_back(host: Made) -> None:
    one = host("one")
    one.shared.turn()
    made = one.add()
    one.data.shares.write_bytes(b"[{")
    one.shared.turn()
    assert one.ids == {made}
    assert len(list(one.data.private.glob("shares.*.damaged"))) == 1
    one.data.shares.unlink()
    one.shared.turn()
    assert one.ids == {made}


@pytest.mark.component
def test_idle_turn_writes_nothing(host: Made, address: str) -> None:
    one = host("one")
    one.shared.turn()
    assert executed(address, "SELECT FROM analytics_documents") == []
    one.shared.revoke(one.add())
    one.shared.turn()
    said = "SELECT version, xmin::text FROM analytics_documents"
    before, version = one.data.shares.stat(), executed(address, said)
    one.shared.turn()
    assert (one.data.shares.stat(), executed(address, said)) == (before, version)


@pytest.mark.component
def test_database_that_logs_statements_and_parameters_logs_no_key_of_a_session(tmp_path: Path) -> None:
    settings = {"log_statement": "all", "log_parameter_max_length": "-1"}
    with running(required("system"), quick=True, settings=settings) as server:
        one = Host(tmp_path / "one", server.database())
        one.add()
        log = server._log.read_text("utf-8")
    (link,) = read_links(one.data).links
    assert "UPDATE analytics_documents" in log
    for written in (link.key, link.key.encode().hex()):
        assert written not in log


@pytest.mark.component
def test_role_of_a_host_may_share_links(host: Made, address: str) -> None:
    made = host("owner").add()  # makes the tables
    executed(address, resources.files("shared.stores.postgres").joinpath("roles.sql").read_text("utf-8"))
    with suppress(psycopg.errors.DuplicateObject):
        executed(address, "CREATE ROLE links_host LOGIN IN ROLE foldlog_publish")
    one = host("one", address.replace("//foldlog@", "//links_host@"))
    assert {made, one.add()} == one.ids


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_merges_ends_with_the_links_that_none_has_revoked(seed: int) -> None:
    pick = random.Random(seed)
    links = [new_link(SITE, f"{number}")[0] for number in range(6)]
    versions, revoked = [link_bytes()] * 4, set[str]()
    added = set[str]()
    for each in links:
        at = pick.randrange(4)
        versions[at] = with_link(versions[at], each)
        added.add(each.id)
    for _ in range(12):
        first, second = pick.sample(range(4), 2)
        versions[first] = merge_links(versions[first], versions[second])
        known = [each.id for each in parse_links(versions[first]).links]
        if known and pick.random() < 0.4:
            revoked.add(gone := pick.choice(known))
            versions[first] = without_link(versions[first], gone)
    found = set[bytes]()
    for one, two, three, four in permutations(versions):
        found.add(merge_links(merge_links(one, two), merge_links(three, four)))
    (merged,) = found
    assert {each.id for each in parse_links(merged).links} == added - revoked
    assert merge_links(merged, merged) == merged


def test_what_changes_in_the_file_while_the_store_answers_is_kept(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    make_data_directory(data)
    first, made = new_link(SITE, "first")[0], new_link(SITE, "made")[0]
    add_link(data, first)
    answered = data.shares.read_bytes()
    assert revoke_link(data, first.id)
    add_link(data, made)
    merge_into_links(data, answered)
    assert read_links(data).links == (made,) and read_links(data).has_revoked(first.id)


def test_entries_that_are_none_are_kept_where_they_may_be_links_of_a_newer_version(tmp_path: Path) -> None:
    newer = {"id": "0000000a", "anything": "of a newer version"}
    content = json.dumps([newer, 7, {"id": "x"}, newer]).encode()
    merged = merge_links(b"[]", content)
    assert json.loads(merged) == [newer]
    data = DataDirectory(tmp_path)
    make_data_directory(data)
    data.shares.write_bytes(content)
    assert revoke_link(data, "0000000a") and not revoke_link(data, "0000000a")
    assert merge_links(content, data.shares.read_bytes()) == merge_links(data.shares.read_bytes(), b"")
    assert parse_links(merge_links(content, data.shares.read_bytes())).has_revoked("0000000a")


def test_revoked_ids_are_bounded_and_the_last_ones_are_kept_whatever_the_clock_says() -> None:
    ahead = 1 << 50
    first = json.dumps([{"id": f"{n:08x}", "revoked_ms": ahead + n} for n in range(REVOKED_MAX)]).encode()
    link, _ = new_link(SITE, "a")
    content = without_link(with_link(first, link), link.id)
    assert len(parse_links(content).revoked) == REVOKED_MAX
    assert parse_links(merge_links(link_bytes(link), content)).links == ()
    assert not parse_links(content).has_revoked("00000000"), "the first one is forgotten"
    assert len(content) < 200 << 10


def test_file_never_becomes_larger_than_is_read() -> None:
    """Links with the longest hosts; a revocation has room in any case."""

    def longest(number: int) -> ShareLink:
        return new_link(SITE, f"{number}" * 30, embed=tuple(f"{n:02}{'x' * 50}." * 4 + "example" for n in range(20)))[0]

    content = b"[]"
    with pytest.raises((NoRoomForLinks, TooManyLinks)):
        for number in range(LINKS_MAX + 1):
            content = with_link(content, longest(number))
    merged = merge_links(content, link_bytes(*(longest(number) for number in range(50))))
    revoked = json.dumps([{"id": f"{n:08x}", "revoked_ms": n} for n in range(REVOKED_MAX)]).encode()
    full = merge_links(merged, revoked)
    assert max(map(len, (content, merged, full))) <= FILE_MAX_BYTES
    assert len(parse_links(full).revoked) == REVOKED_MAX
    gone = parse_links(full).links[0].id
    assert not parse_links(without_link(full, gone)).has(gone)
    assert len(without_link(full, "ffffffff")) <= FILE_MAX_BYTES


@pytest.fixture
def workers(tmp_path: Path, address: str) -> Iterator[tuple[Worker, Worker]]:
    for name in "ab":
        (tmp_path / name).mkdir()
    with (
        Worker(tmp_path / "a", store=address, sites=SITE) as one,
        Worker(tmp_path / "b", store=address, sites=SITE) as other,
    ):
        yield one, other


def make(worker: Worker, **more: Any) -> Answer:
    body = json.dumps({"site": SITE, "name": "For the shop", **more}).encode()
    return worker.request("POST", SHARES, body, JSON | bearer(ADMIN_TOKEN))


def opened(worker: Worker, link: dict[str, Any], **more: Any) -> Answer:
    body = json.dumps({"id": link["id"], "secret": link["secret"], **more}).encode()
    return worker.request("POST", SESSION, body, JSON)


@pytest.mark.component
def test_link_its_password_and_its_sessions_are_valid_on_all_hosts_until_one_revokes_it(
    workers: tuple[Worker, Worker], postgres: Postgres
) -> None:
    one, other = workers
    link = make(one, password=PASSWORD).json()
    until(lambda: [each["id"] for each in other.get(SHARES).json()["shares"]] == [link["id"]])
    assert opened(other, link).code == "password"
    assert opened(other, link, password=f"not {PASSWORD}").code == "password"
    cookie = str(opened(other, link, password=PASSWORD).headers["Set-Cookie"]).partition(";")[0]
    by_link = {HEADER: str(link["id"]), "Cookie": cookie}
    for worker in workers:
        assert worker.request("GET", STATUS, headers=by_link).status == 200, "whichever host made the session"
    postgres.stop()
    try:
        refused = make(one)
        assert (refused.status, refused.code) == (503, "store_unavailable")
        assert other.request("DELETE", f"{SHARES}/{link['id']}", headers=bearer(ADMIN_TOKEN)).status == 204
        assert other.request("GET", STATUS, headers=by_link).code == "share"
        assert one.request("GET", STATUS, headers=by_link).status == 200, "it cannot know yet"
    finally:
        postgres.start()
    until(lambda: one.request("GET", STATUS, headers=by_link).code == "share")
    assert opened(one, link, password=PASSWORD).code == "share"
    assert one.request("DELETE", f"{SHARES}/{link['id']}", headers=bearer(ADMIN_TOKEN)).code == "no_such_name"
