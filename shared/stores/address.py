"""FOLDLOG_STORE: where generations are published besides the data directory, and what
DATABASE_URL means to it.
"""

from __future__ import annotations

import re
from pathlib import Path

FILE = "file"
POSTGRES = "postgres"
DATABASE_URL = "DATABASE_URL"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")
_ACCEPTED = "file, sqlite:///PATH, postgresql://…, or postgres for what DATABASE_URL says"
_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)")


def parse_store(text: str) -> str:
    """`file`, `postgres`, or the address of a database. Raises ValueError with what is
    expected.
    """
    address = text.strip()
    if address in {FILE, POSTGRES} or is_postgres(address) or address.removeprefix(_SQLITE) not in ("", address):
        return address
    raise ValueError(_ACCEPTED)


def sqlite_path(address: str) -> Path | None:
    """The file of a SQLite store: `sqlite:///a.db` is in the working directory,
    `sqlite:////srv/a.db` is not. None for any other store.
    """
    return Path(address.removeprefix(_SQLITE)) if address.startswith(_SQLITE) else None


def is_postgres(address: str) -> bool:
    return address.startswith(_POSTGRES) and address not in _POSTGRES


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


def shown_address(address: str) -> str:
    """An address without its password, for people."""
    return _PASSWORD.sub("…", address.partition("?")[0]) if is_postgres(address) else address
