"""The hosts of a PostgreSQL store have one salt a day, and a host that had to do with
another one is named (P11).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import resources
from pathlib import Path

import psycopg
import pytest

from shared.stores.ledger import StoreUnavailable
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required
from tests.builders.salts import SaltHost, zone_before_midnight
from tests.builders.stores import executed, queried

pytestmark = pytest.mark.component

HOUR_MS = 3_600_000
UNREACHABLE = "postgresql://foldlog@127.0.0.1:1/nothing?connect_timeout=2"
Made = Callable[..., SaltHost]


@pytest.fixture
def host(tmp_path: Path, address: str) -> Made:
    def make(name: str, store: str = address, timezone: str = "UTC") -> SaltHost:
        return SaltHost(tmp_path / name, store, timezone)

    return make


def own_days(address: str) -> list[tuple[str, str]]:
    return queried(address, "SELECT instance::text, day::text FROM analytics_own_salts ORDER BY 1, 2")


def connect_again(host: SaltHost, address: str, root: Path) -> SaltHost:
    """The same directory, whose store answers again."""
    again = SaltHost(root, address, host.settings.timezone)
    again.clock_ms = host.clock_ms
    return again


def test_visitor_without_an_id_is_one_visitor_on_two_hosts(host: Made) -> None:
    one, other = host("one"), host("other")
    one.ask()
    other.ask()
    assert one.visitor() == other.visitor()


def test_hosts_that_ask_at_the_same_instant_get_one_salt(host: Made, address: str) -> None:
    host("first").ask()  # makes the tables
    executed(address, "DELETE FROM analytics_salts")
    hosts = [host(f"host-{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(SaltHost.ask, hosts))
    assert len({each.visitor() for each in hosts}) == 1


def test_hosts_that_make_the_tables_together_get_one_salt(host: Made) -> None:
    hosts = [host(f"host-{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(SaltHost.ask, hosts))
    assert len({each.visitor() for each in hosts}) == 1


def test_salt_of_tomorrow_is_fetched_ahead_and_used_from_midnight_without_the_store(host: Made) -> None:
    zone = zone_before_midnight()
    one, other = host("one", timezone=zone), host("other", timezone=zone)
    one.ask()
    other.ask()
    today = one.visitor()
    assert today == other.visitor()
    for each in (one, other):
        each.clock_ms += HOUR_MS
    assert one.visitor() == other.visitor() != today
    assert "next" not in one.file
    assert not one.data.own_salt_days.exists()


def test_salt_of_tomorrow_is_not_made_before_the_last_hour(host: Made, address: str) -> None:
    zone = zone_before_midnight()
    early = host("early", timezone=zone)
    early.clock_ms -= HOUR_MS
    early.ask()
    assert "next" not in early.file
    assert queried(address, "SELECT count(*) FROM analytics_salts") == [(1,)]


def test_idle_host_keeps_the_salt_of_the_new_day_and_deletes_the_old_one(host: Made) -> None:
    one = host("one", timezone=zone_before_midnight())
    one.ask()
    old, new = one.file["salt"], one.file["next"]["salt"]
    one.clock_ms += HOUR_MS
    one._hash.delete_expired_salt(one.clock_ms)
    assert one.file == {"day": one.file["day"], "salt": new}
    assert not any(old.encode() in path.read_bytes() for path in one.data.root.rglob("*") if path.is_file())
    one.clock_ms += 24 * HOUR_MS
    one._hash.delete_expired_salt(one.clock_ms)
    assert not one.data.salt.exists()


def test_host_without_its_store_makes_a_salt_and_is_named_when_it_answers(
    host: Made, address: str, tmp_path: Path
) -> None:
    other, alone = host("other"), host("alone", UNREACHABLE)
    other.ask()
    with pytest.raises(StoreUnavailable):
        alone.ask()
    own = alone.visitor()
    assert own != other.visitor()
    again = connect_again(alone, address, tmp_path / "alone")
    instance, day = again.instance, again.file["day"]
    again.ask()
    assert again.visitor() == own, "the salt of a day stays"
    assert own_days(address) == [(instance, day)]
    assert not again.data.own_salt_days.exists()


def test_host_that_is_nobody_yet_is_named_once_it_is(host: Made, address: str, tmp_path: Path) -> None:
    host("other").ask()
    alone = host("alone", UNREACHABLE)
    alone.visitor()
    again = connect_again(alone, address, tmp_path / "alone")
    again.ask()
    assert own_days(address) == []
    instance = again.instance
    again.shared.turn()
    assert [found for found, _ in own_days(address)] == [instance]


def test_days_of_a_store_that_was_down_for_long_are_all_named(host: Made, address: str, tmp_path: Path) -> None:
    alone = host("alone", UNREACHABLE)
    now = alone.clock_ms
    for day in (3, 2, 1):
        alone.clock_ms = now - day * 24 * HOUR_MS
        alone.visitor()
    alone.clock_ms = now
    again = connect_again(alone, address, tmp_path / "alone")
    assert again.instance
    again.ask()
    assert len(own_days(address)) == 3


def test_own_salt_becomes_that_of_all_where_the_store_has_none(host: Made, address: str, tmp_path: Path) -> None:
    alone = host("alone", UNREACHABLE)
    own = alone.visitor()
    again = connect_again(alone, address, tmp_path / "alone")
    assert again.instance
    again.ask()
    other = host("other")
    other.ask()
    assert other.visitor() == own
    assert own_days(address) == []
    assert not again.data.own_salt_days.exists()


def test_store_that_lost_its_salts_gets_them_again(host: Made, address: str) -> None:
    one, late = host("one"), host("late")
    one.ask()
    executed(address, "TRUNCATE analytics_salts")
    one.ask()
    late.ask()
    assert one.visitor() == late.visitor()


def test_host_whose_salt_was_replaced_in_the_store_is_named(host: Made, address: str) -> None:
    one, late = host("one"), host("late")
    one.ask()
    instance, before = one.instance, one.visitor()
    executed(address, "TRUNCATE analytics_salts")
    late.ask()
    one.ask()
    assert one.visitor() == before
    assert [found for found, _ in own_days(address)] == [instance]


def test_salt_leaves_the_store_soon_after_its_day(host: Made, address: str) -> None:
    one = host("one")
    one.ask()
    salt = one.file["salt"]
    for minutes, stays in ((9, 1), (11, 0)):
        ended = f"day = '2026-01-01', ends_at = now() - interval '{minutes} minutes'"
        # Within an hour of midnight there is one of tomorrow, too.
        executed(address, f"UPDATE analytics_salts SET {ended} WHERE salt = '\\x{salt}'")
        one.data.salt.unlink()
        one.ask()
        found = queried(address, f"SELECT count(*) FROM analytics_salts WHERE salt = '\\x{salt}'")
        assert found == [(stays,)]
        executed(address, "DELETE FROM analytics_salts WHERE day <> '2026-01-01'")


@pytest.mark.parametrize("hours", [-72, 72])
def test_host_whose_clock_is_days_off_makes_no_salt_for_others(host: Made, address: str, hours: int) -> None:
    wrong = host("wrong")
    wrong.clock_ms += hours * HOUR_MS
    with pytest.raises(StoreUnavailable, match="clock"):
        wrong.ask()
    assert queried(address, "SELECT count(*) FROM analytics_salts") == [(0,)]
    assert wrong.visitor()
    assert len(json.loads(wrong.data.own_salt_days.read_bytes())) == 1


def test_hosts_of_two_time_zones_have_salts_of_their_own(host: Made) -> None:
    one, other = host("one"), host("other", timezone="Etc/UTC")
    one.ask()
    other.ask()
    assert one.visitor() != other.visitor()


def test_one_worker_at_a_time_asks(host: Made) -> None:
    one = host("one")
    workers = [one.restarted() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda worker: worker.turn(), workers))
    assert any(worker.first_turn.is_set() for worker in workers)
    assert len(one.file["salt"]) == 64


def test_table_of_salts_is_in_no_log_and_no_base_backup(host: Made, address: str) -> None:
    host("one").ask()
    found = queried(address, "SELECT relpersistence::text FROM pg_class WHERE relname = 'analytics_salts'")
    assert found == [("u",)]


def test_database_that_logs_statements_and_parameters_logs_no_salt(tmp_path: Path) -> None:
    settings = {"log_statement": "all", "log_parameter_max_length": "-1"}
    with running(required("system"), quick=True, settings=settings) as server:
        one = SaltHost(tmp_path / "one", server.database(), zone_before_midnight())
        one.ask()
        log = server._log.read_text("utf-8")
    assert "analytics_salts" in log
    for salt in (one.file["salt"], one.file["next"]["salt"]):
        assert salt not in log


def test_role_of_a_host_may_share_salts(host: Made, address: str, tmp_path: Path) -> None:
    host("owner").ask()  # makes the tables
    executed(address, "DELETE FROM analytics_salts")
    executed(address, resources.files("shared.stores.postgres").joinpath("roles.sql").read_text("utf-8"))
    with suppress(psycopg.errors.DuplicateObject):
        executed(address, "CREATE ROLE salt_host LOGIN IN ROLE foldlog_publish")
    alone = host("alone", UNREACHABLE)
    alone.visitor()
    as_role = connect_again(alone, address.replace("//foldlog@", "//salt_host@"), tmp_path / "alone")
    host("owner").ask()
    assert as_role.instance
    as_role.ask()
    assert len(own_days(address)) == 1
