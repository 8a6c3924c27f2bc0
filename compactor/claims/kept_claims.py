"""Which claims an instance keeps when the others are released: those of what it has
published, which counts on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.claims.claims_table import DayHashes
from compactor.claims.hashes import id_hashes_sql
from compactor.claims.known_claims import blocks_of
from compactor.generations.archive import OpenedPart

if TYPE_CHECKING:
    import duckdb


def create_stays(database: duckdb.DuckDBPyConnection) -> None:
    """Create `stays` (day, hash), for the ids of what is published."""
    database.execute("CREATE OR REPLACE TEMP TABLE stays (day DATE, hash UUID)")


def add_stays(database: duckdb.DuckDBPyConnection, key: str, day: date, parts: Iterable[OpenedPart]) -> None:
    """Add the ids of archive parts of a day; `key` is that of the hashes."""
    sql = f"INSERT INTO stays SELECT DISTINCT $day::DATE, hash FROM {id_hashes_sql(parts)}"
    database.execute(sql, {"day": day, "key": key})


def kept_claims(database: duckdb.DuckDBPyConnection, instance: UUID) -> Iterator[DayHashes]:
    """The known claims of an instance on ids in `stays`, on all of their days, as
    blocks.
    """
    kept = "SELECT day, hash FROM known.claims WHERE instance = $1::UUID AND hash IN (SELECT hash FROM stays)"
    return blocks_of(database, kept, [instance])
