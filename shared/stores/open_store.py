"""The store of FOLDLOG_STORE."""

from __future__ import annotations

import socket

from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.stores.address import is_clickhouse, is_postgres, sqlite_path
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.event_key import event_key
from shared.stores.clickhouse.store import ClickHouseStore, HostOfStore
from shared.stores.ledger import StoreRefused
from shared.stores.postgres.store import PostgresStore
from shared.stores.sqlite.store import SqliteStore
from shared.stores.store import Store


class NoStore(StoreRefused):
    """FOLDLOG_STORE names none."""

    def __init__(self) -> None:
        super().__init__(
            "FOLDLOG_STORE", "is `file`: set it to sqlite:///PATH, postgresql://… or clickhouse://… to publish there"
        )


def open_store(settings: Settings, instance: str) -> Store:
    """The store as the data directory with this id publishes to it. Raises NoStore."""
    if is_postgres(settings.store):
        return PostgresStore(settings.store, instance, socket.gethostname(), settings.timezone)
    if is_clickhouse(settings.store):
        return ClickHouseStore(
            parse_cluster(settings.store),
            HostOfStore(instance, socket.gethostname(), settings.timezone, settings.archive_retention_days),
            key=lambda: event_key(DataDirectory(settings.data_dir), settings.database_url),
            hosts_database=settings.database_url,
        )
    path = sqlite_path(settings.store)
    if path is None:
        raise NoStore
    return SqliteStore(path)
