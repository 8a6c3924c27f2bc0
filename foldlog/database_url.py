"""What is said about DATABASE_URL: platforms set it for every program, so Foldlog says
whether it takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shared.log import Log
from shared.settings import Settings, find_database_url_use
from shared.stores.address import DATABASE_URL, DatabaseUrlUse, scheme_of, shown_address


class IgnoredUrl(NamedTuple):
    """DATABASE_URL is set and not used: what was found, and what to do. `is_meant`:
    FOLDLOG_STORE says so.
    """

    found: str
    do: str
    is_meant: bool


def ignored_database_url(environ: Mapping[str, str], config: str | None) -> IgnoredUrl | None:
    """None where it is used, or not set."""
    use = find_database_url_use(environ, Path(config) if config else None)
    if use is DatabaseUrlUse.IS_OFF:
        do = "FOLDLOG_STORE=postgres uses it"
        return IgnoredUrl("DATABASE_URL is not used: FOLDLOG_STORE names another store, or none", do, True)
    if use is not DatabaseUrlUse.IS_UNKNOWN:
        return None
    scheme = scheme_of(environ[DATABASE_URL].strip())
    what = f"begins with {scheme}" if scheme else "is not the address of a database"
    found = f"DATABASE_URL {what}, which Foldlog cannot use as a store: nothing is published to a database"
    do = "FOLDLOG_STORE=postgresql://… or sqlite:///PATH; FOLDLOG_STORE=file if there is to be none"
    return IgnoredUrl(found, do, False)


def log_database_url(environ: Mapping[str, str], config: str | None, settings: Settings, log: Log) -> None:
    """Say at the start which store DATABASE_URL made, or that it made none."""
    ignored = ignored_database_url(environ, config)
    if ignored is not None and ignored.is_meant:
        log.info("store_not_used", reason=f"{ignored.found}; {ignored.do}")
    elif ignored is not None:
        log.warning("store_not_used", reason=f"{ignored.found}; {ignored.do}")
    elif find_database_url_use(environ, Path(config) if config else None) is DatabaseUrlUse.IS_STORE:
        reason = "DATABASE_URL names it, and FOLDLOG_STORE is not set; FOLDLOG_STORE=file turns it off"
        log.info("store_from_database_url", store=shown_address(settings.store), reason=reason)
