"""The schema of a PostgreSQL store: applied once, by whichever host comes first."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.connection import connected
from shared.stores.postgres.migrate import migrate, migrations, pending_migrations
from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import required

LATEST = migrations()[-1].version


@pytest.fixture
def server() -> Iterator[Server]:
    with running(required("system"), quick=True) as found:
        yield found


@pytest.mark.component
def test_hosts_that_start_together_migrate_once(server: Server) -> None:
    applied: list[list[int]] = []

    def start() -> None:
        with connected(server.url) as connection:
            applied.append([each.version for each in migrate(connection, server.url)])

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], [], [each.version for each in migrations()]]
    with connected(server.url) as connection:
        assert pending_migrations(connection, server.url) == []
        connection.execute("INSERT INTO analytics_schema VALUES (%s, 'to come')", (LATEST + 1,))
        with pytest.raises(StoreRefused, match="newer Foldlog"):
            migrate(connection, server.url)


@pytest.mark.component
def test_a_server_that_is_down_is_named_without_its_password(server: Server) -> None:
    server.stop()
    address = server.url.replace("foldlog@", "foldlog:secret@")
    with pytest.raises(StoreUnavailable) as caught, connected(address):
        pass
    assert "PostgreSQL store postgresql://foldlog:…@" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.component
def test_a_database_that_cannot_take_every_text_is_refused(server: Server) -> None:
    address = server.database("ENCODING 'LATIN1' TEMPLATE template0")
    with connected(address) as connection, pytest.raises(StoreRefused, match="encoding LATIN1"):
        migrate(connection, address)
