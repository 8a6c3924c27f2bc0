"""FOLDLOG_STORE: where generations are published besides the data directory, and what
DATABASE_URL means to it.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from shared.stores.clickhouse.cluster import parse_cluster

FILE = "file"
POSTGRES = "postgres"
DATABASE_URL = "DATABASE_URL"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")
_CLICKHOUSE = "clickhouse://"
_ACCEPTED = (
    "file, sqlite:///PATH, postgresql://…, postgres for what DATABASE_URL says, or clickhouse://HOST:8123/DATABASE"
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)")


class DatabaseUrlUse(Enum):
    """What becomes of a DATABASE_URL that no setting asks for."""

    IS_STORE = "it is the store, because FOLDLOG_STORE is not set"
    IS_OFF = "it is not used: FOLDLOG_STORE names another store, or none"
    IS_UNKNOWN = "it is not used: it names no PostgreSQL"


def parse_store(text: str) -> str:
    """`file`, `postgres`, or the address of a database. Raises ValueError with what is
    expected.
    """
    address = text.strip()
    if is_clickhouse(address):
        parse_cluster(address)
        return address
    if address in {FILE, POSTGRES} or is_postgres(address) or address.removeprefix(_SQLITE) not in ("", address):
        return address
    raise ValueError(_ACCEPTED)


def parse_database_url(text: str) -> str:
    """The address of a PostgreSQL. Raises ValueError with what is expected."""
    if not is_postgres(text.strip()):
        raise ValueError("postgresql://…")
    return text.strip()


def sqlite_path(address: str) -> Path | None:
    """The file of a SQLite store: `sqlite:///a.db` is in the working directory,
    `sqlite:////srv/a.db` is not. None for any other store.
    """
    return Path(address.removeprefix(_SQLITE)) if address.startswith(_SQLITE) else None


def is_postgres(address: str) -> bool:
    return address.startswith(_POSTGRES) and address not in _POSTGRES


def is_clickhouse(address: str) -> bool:
    return address.startswith(_CLICKHOUSE)


def knows_hosts(address: str) -> bool:
    """Whether a store has the events of several hosts."""
    return is_postgres(address) or is_clickhouse(address)


def store_of(given: str | None, database_url: str) -> str:
    """The store where FOLDLOG_STORE is `given` (None: not set). Raises ValueError for
    `postgres` without a DATABASE_URL of PostgreSQL.
    """
    if given is None:
        return database_url if is_postgres(database_url) else FILE
    if given != POSTGRES:
        return given
    if not is_postgres(database_url):
        raise ValueError("postgres takes the address from DATABASE_URL, which is not set to postgresql://…")
    return database_url


def database_url_use(given: str | None, database_url: str, rate_store: str | None) -> DatabaseUrlUse | None:
    """What is worth a word about DATABASE_URL, where FOLDLOG_STORE is `given` and
    FOLDLOG_RATE_STORE is `rate_store` (None: not set). None where it is not set, or is
    used as told.
    """
    if given is not None:
        is_beside = is_clickhouse(given) and is_postgres(database_url)
        is_used = not database_url or database_url == given or POSTGRES in (given, rate_store) or is_beside
        return None if is_used else DatabaseUrlUse.IS_OFF
    if not database_url:
        return None
    return DatabaseUrlUse.IS_STORE if is_postgres(database_url) else DatabaseUrlUse.IS_UNKNOWN


def scheme_of(address: str) -> str | None:
    """`mysql://` of an address; None of a text that has none, and may be a secret."""
    found = _SCHEME.match(address)
    return found[0] if found else None


def shown_address(address: str) -> str:
    """An address without its password, for people."""
    has_password = is_postgres(address) or is_clickhouse(address)
    return _PASSWORD.sub("…", address.partition("?")[0]) if has_password else address
