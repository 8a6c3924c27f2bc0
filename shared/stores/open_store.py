"""The store of FOLDLOG_STORE."""

from __future__ import annotations

from shared.settings import Settings
from shared.stores.address import sqlite_path
from shared.stores.ledger import StoreRefused
from shared.stores.sqlite.store import SqliteStore


class NoStore(StoreRefused):
    """FOLDLOG_STORE names none."""

    def __init__(self) -> None:
        super().__init__("FOLDLOG_STORE", "is `file`: set it to sqlite:///PATH to publish there")


def open_store(settings: Settings) -> SqliteStore:
    """Raises NoStore."""
    path = sqlite_path(settings.store)
    if path is None:
        raise NoStore
    return SqliteStore(path)
