"""Roles of a PostgreSQL store have the least that they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from compactor.publishing.instance import instance_id
from compactor.publishing.publisher import publish_logged
from ingest.rate_store.postgres_store import PostgresStore as RateStore
from ingest.rate_store.store import Charge
from shared.generations.load import load_snapshot
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.open_store import open_store
from shared.stores.postgres import migrate
from shared.stores.postgres.store import PostgresStore
from shared.stores.state import read_state
from shared.timestamps import now_ms
from tests.builders.archive import HOUR_MS
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import required
from tests.builders.silent_log import SilentLog
from tests.builders.stores import publish, queried, store_settings, wrong

pytestmark = pytest.mark.component
ROLES = Path(migrate.__file__).with_name("roles.sql").read_text("utf-8")
LOGINS = """
    CREATE ROLE tables_owner LOGIN CREATEROLE;
    CREATE ROLE host_1 LOGIN;
    CREATE ROLE person LOGIN;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(required("system"), quick=True) as found:
        execute(found.url, LOGINS)
        yield found


@pytest.fixture
def address(server: Server) -> str:
    """As a superuser."""
    found = server.database()
    execute(found, "GRANT ALL ON SCHEMA public TO tables_owner")
    return found


def as_role(address: str, role: str) -> str:
    return address.replace("foldlog@", f"{role}@")


def execute(address: str, sql: str) -> None:
    with psycopg.connect(address, autocommit=True) as database:
        database.execute(sql.encode())


def with_roles(address: str) -> None:
    PostgresStore(as_role(address, "tables_owner"), "", "", "UTC").migrate()
    execute(as_role(address, "tables_owner"), ROLES)
    execute(address, "GRANT foldlog_publish TO host_1; GRANT foldlog_read TO person")


def test_a_host_publishes_and_makes_nothing_but_months(tmp_path: Path, address: str) -> None:
    data, host = data_directory(tmp_path / "data"), as_role(address, "host_1")
    for turn, time_ms in enumerate((NOON - 25 * 24 * HOUR_MS, NOON)):
        sealed(data, [line(f"event-{turn}", time_ms)])
    fold_all(data)
    with pytest.raises(StoreRefused, match="foldlog store migrate"):
        publish(data, store=host)
    with_roles(address)
    store = publish(data, store=host)
    assert wrong(data, store) == []
    for sql in (
        "CREATE TABLE mine (a int)",
        "DROP TABLE analytics_counters_2026_11",
        "DELETE FROM analytics_schema",
        "TRUNCATE analytics_parts",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(host, sql)
    # A table of its own in front of the real one does not deceive the function.
    execute(host, "CREATE TEMP TABLE analytics_counters (a int); SELECT analytics_make_month('2027-01-01')")
    assert queried(address, "SELECT relispartition FROM pg_class WHERE relname = 'analytics_counters_2027_01'") == [
        (True,)
    ]
    store.empty()
    assert queried(address, "SELECT FROM pg_class WHERE relname LIKE 'analytics_counters_20%'") == []


def test_a_host_may_read_every_table_and_write_all_but_the_schema(address: str) -> None:
    """A table that a migration adds and roles.sql forgets stops hosts of separate
    roles.
    """
    with_roles(address)
    sql = """
        SELECT relname::text FROM pg_class
        WHERE relname LIKE 'analytics_%' AND relkind IN ('r', 'p') AND NOT relispartition AND NOT (
            has_table_privilege('foldlog_publish', oid, 'SELECT')
            AND has_table_privilege('foldlog_publish', oid, 'INSERT'))
    """
    assert queried(address, sql) == [("analytics_schema",)]


async def test_a_host_counts_requests_in_tables_of_the_owner(address: str) -> None:
    with_roles(address)
    store = RateStore(as_role(address, "host_1"), window_ms=3_600_000)
    await store.open()
    try:
        charges = [Charge("requests", "client", 3, 2)]
        assert await store.take(charges) is None
        assert await store.take(charges) is not None
        await store.refresh()
    finally:
        await store.close()
    assert queried(address, "SELECT tableowner FROM pg_tables WHERE tablename = 'analytics_rate'") == [
        ("tables_owner",)
    ]


async def test_tables_that_the_rate_store_made_are_those_of_the_store(address: str) -> None:
    store = RateStore(address, window_ms=3_600_000)
    await store.open()
    await store.close()
    assert PostgresStore(address, "", "", "UTC").migrate()
    assert queried(address, "SELECT count(*) FROM analytics_rate_key") == [(1,)]


def test_a_person_reads_numbers_and_writes_nothing(tmp_path: Path, address: str) -> None:
    with_roles(address)
    data, person = data_directory(tmp_path / "data"), as_role(address, "person")
    sealed(data, [line("event-1")])
    fold_all(data)
    publish(data, store=as_role(address, "host_1"))
    assert queried(person, "SELECT events, visitors, visits FROM analytics_summary") == [(1, 1, None)]
    assert queried(person, "SELECT sum(events) FROM analytics_counters WHERE dimension = 'total'") == [(1,)]
    assert queried(person, "SELECT generation FROM analytics_folded") == [(1,)]
    for sql in (
        "SELECT visitors FROM analytics_visitors",
        "SELECT value FROM analytics_shared",
        "SELECT salt FROM analytics_salts",
        "SELECT sha256 FROM analytics_tokens",
        "SELECT content FROM analytics_documents",
        "SELECT body FROM analytics_parts",
        "SELECT client FROM analytics_rate",
        "SELECT key FROM analytics_rate_key",
        "SELECT snapshot FROM analytics_folded",
        "UPDATE analytics_counters SET events = 0",
        "INSERT INTO analytics_visitors SELECT",
        "DELETE FROM analytics_folded",
        "CREATE TABLE mine (a int)",
        "SELECT analytics_make_month('2027-01-01')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(person, sql)


def test_a_right_that_was_revoked_is_named_and_nothing_lost(tmp_path: Path, address: str) -> None:
    with_roles(address)
    data, host = data_directory(tmp_path / "data"), as_role(address, "host_1")
    sealed(data, [line("event-1")])
    fold_all(data)
    execute(address, "REVOKE INSERT ON analytics_parts FROM foldlog_publish")
    with pytest.raises(StoreUnavailable, match="permission denied for table analytics_parts"):
        publish(data, store=host)
    assert open_store(store_settings(data, store=host), instance_id(data)).days() == set()
    execute(address, "GRANT INSERT ON analytics_parts TO foldlog_publish")
    assert wrong(data, publish(data, store=host)) == []


@pytest.mark.parametrize("table", ["analytics_ids", "analytics_counters", "analytics_folded"])
def test_a_right_that_is_revoked_in_the_middle_stops_publishes_and_no_fold(
    tmp_path: Path, address: str, table: str
) -> None:
    with_roles(address)
    data, host = data_directory(tmp_path / "data"), as_role(address, "host_1")
    settings, now = store_settings(data, store=host), now_ms()
    for turn in range(4):
        sealed(data, [line(f"event-{turn}", now)])
        fold_all(data, now)
        if turn == 1:
            execute(address, f"REVOKE INSERT, UPDATE ON {table} FROM foldlog_publish")
        publish_logged(data, settings, SilentLog())
        error = read_state(data, settings).error
        assert load_snapshot(data).totals.counted == turn + 1
        if turn in {1, 2}:
            assert f"permission denied for table {table}" in error
            execute(address, f"GRANT INSERT, UPDATE ON {table} TO foldlog_publish" if turn == 2 else "SELECT")
    assert wrong(data, open_store(settings, instance_id(data))) == []
    assert queried(address, "SELECT sum(events)::int FROM analytics_counters WHERE dimension = 'total'") == [(4,)]


def test_the_sql_that_is_shown_makes_the_same_tables(address: str) -> None:
    store = PostgresStore(address, "", "", "UTC")
    execute(address, migrate.script(store.pending()))
    assert (store.pending(), migrate.script([])) == ([], "")
    assert len(queried(address, "SELECT version FROM analytics_schema")) == len(migrate.migrations())
