"""What a report over all hosts reads from a PostgreSQL store: the ledger, and parts.
It counts nothing there: the parts are read by DuckDB.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def ledger_statement() -> bytes:
    return resources.files(__package__).joinpath("ledger.sql").read_bytes()


@cache
def ledger_statement_before_salts() -> bytes:
    """The same for a store that an earlier Foldlog has migrated last."""
    columns = b"NULL::uuid AS instance, NULL::date AS day, NULL::timestamptz AS begins_at, NULL::timestamptz AS ends_at"
    return ledger_statement().replace(b"FROM analytics_own_salts", b"FROM (SELECT " + columns + b" WHERE false) none")


@cache
def erased_statement() -> bytes:
    return resources.files(__package__).joinpath("erased.sql").read_bytes()


@cache
def parts_statement() -> bytes:
    return resources.files(__package__).joinpath("parts.sql").read_bytes()
