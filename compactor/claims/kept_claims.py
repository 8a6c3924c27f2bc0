"""Which claims an instance keeps when the others are released: those of ids that it has
published. Such an event counts on, or has counted until it was erased, or until its
archive expired.

Released is only what was claimed for a generation that was never published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from compactor.claims.claims_table import DayHashes, LedgerRow
from compactor.claims.hashes import id_hashes_sql
from compactor.claims.known_claims import blocks_of
from compactor.generations.archive import OpenedPart

if TYPE_CHECKING:
    import duckdb

_OWN = "SELECT DISTINCT day, hash FROM known.claims WHERE instance = $1::UUID"


def create_stored(database: duckdb.DuckDBPyConnection) -> None:
    """Create `stored` (hash), for the ids that an archive has."""
    database.execute("CREATE OR REPLACE TEMP TABLE stored (hash UUID)")


def add_stored(database: duckdb.DuckDBPyConnection, key: str, parts: Iterable[OpenedPart]) -> None:
    """Add the ids of archive parts; `key` is that of the hashes."""
    database.execute(f"INSERT INTO stored SELECT DISTINCT hash FROM {id_hashes_sql(parts)}", {"key": key})


def kept_claims(database: duckdb.DuckDBPyConnection, row: LedgerRow) -> Iterator[DayHashes]:
    """The known claims of an instance on ids that it has published, as blocks. What it
    claimed since it published last it has not, unless the published archive, which is
    in `stored`, has the id of another day.
    """
    kept = "(seq <= $2 OR hash IN (SELECT hash FROM stored))"
    return blocks_of(database, f"{_OWN} AND {kept}", [row.instance, row.published_seq])


def gone_claims(database: duckdb.DuckDBPyConnection, row: LedgerRow) -> Iterator[DayHashes]:
    """Of those, the claims on ids that are in no archive any more: they were erased, or
    have expired. The archive of the instance is in `stored`.
    """
    gone = "seq <= $2 AND hash NOT IN (SELECT hash FROM stored)"
    return blocks_of(database, f"{_OWN} AND {gone}", [row.instance, row.published_seq])
