"""FOLDLOG_STORE: where generations are published besides the data directory."""

from __future__ import annotations

from pathlib import Path

FILE = "file"
_SQLITE = "sqlite:///"


def parse_store(text: str) -> str:
    """`file`, or `sqlite:///` and a path. Raises ValueError with what is expected."""
    address = text.strip()
    if address == FILE or address.removeprefix(_SQLITE) not in ("", address):
        return address
    raise ValueError("file, or sqlite:///PATH such as sqlite:////var/lib/foldlog/analytics.db")


def sqlite_path(address: str) -> Path | None:
    """The file of a SQLite store: `sqlite:///a.db` is in the working directory,
    `sqlite:////srv/a.db` is not. None for `file`.
    """
    return Path(address.removeprefix(_SQLITE)) if address.startswith(_SQLITE) else None
