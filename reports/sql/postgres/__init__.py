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
def own_salts_statement() -> bytes:
    return resources.files(__package__).joinpath("own_salts.sql").read_bytes()


@cache
def parts_statement() -> bytes:
    return resources.files(__package__).joinpath("parts.sql").read_bytes()
