"""The schema of a PostgreSQL store: applied once, by whichever host comes first."""

from __future__ import annotations

import threading

import pytest

from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.connection import connected
from shared.stores.postgres.migrate import migrate, migrations, pending_migrations
from tests.builders.postgres import Server

LATEST = migrations()[-1].version


@pytest.mark.component
def test_hosts_that_start_together_migrate_once(postgres: Server) -> None:
    address = postgres.database()
    applied: list[list[int]] = []

    def start() -> None:
        with connected(address) as connection:
            applied.append([each.version for each in migrate(connection, address)])

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], [], [each.version for each in migrations()]]
    with connected(address) as connection:
        assert pending_migrations(connection, address) == []
        connection.execute("INSERT INTO analytics_schema VALUES (%s, 'to come')", (LATEST + 1,))
        with pytest.raises(StoreRefused, match="newer Foldlog"):
            migrate(connection, address)


@pytest.mark.component
def test_a_server_that_is_down_is_named_without_its_password(postgres: Server) -> None:
    address = postgres.database().replace("foldlog@", "foldlog:secret@")
    postgres.stop()
    with pytest.raises(StoreUnavailable) as caught, connected(address):
        pass
    assert "PostgreSQL store postgresql://foldlog:…@" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.component
def test_a_database_that_cannot_take_every_text_is_refused(postgres: Server) -> None:
    address = postgres.database("ENCODING 'LATIN1' TEMPLATE template0")
    with connected(address) as connection, pytest.raises(StoreRefused, match="encoding LATIN1"):
        migrate(connection, address)
