"""What a comparison with the claims of other hosts leaves for the next pass: events to
yield, and yielded events to count after all. The file follows from the claims: without
it, the next comparison makes it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compactor.generations.part_files import COPY_OPTIONS
from compactor.sql import count_rows, sql_text
from shared.disk.durable import publishing
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import one_row
from shared.sql.parquet import parquet

if TYPE_CHECKING:
    import duckdb


def write_outcome(database: duckdb.DuckDBPyConnection, data: DataDirectory, key: str) -> int:
    """Publish the tables `lost` and `again`, and the key of their hashes. Returns how
    many rows they have.
    """
    again = "SELECT day, hash, NULL::UUID AS winner, NULL::UUID AS winner_epoch, NULL::DATE AS winner_day FROM again"
    rows = f"SELECT day, hash, winner, winner_epoch, winner_day FROM lost UNION ALL {again}"
    options = f"{COPY_OPTIONS}, KV_METADATA {{key: {sql_text(key)}}}"
    with publishing(data.claim_outcome) as beside:
        database.execute(f"COPY ({rows}) TO {sql_text(str(beside))} ({options})")
    return count_rows(database, f"({rows})")


def read_outcome(database: duckdb.DuckDBPyConnection, data: DataDirectory) -> str:
    """Create the tables `lost` and `again` from the file. Returns the key."""
    source = parquet(sql_text(str(data.claim_outcome)))
    database.execute(f"CREATE OR REPLACE TEMP TABLE lost AS FROM {source} WHERE winner IS NOT NULL")
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE again AS SELECT DISTINCT day, hash FROM {source} WHERE winner IS NULL"
    )
    noted = "SELECT decode(value) FROM parquet_kv_metadata($1) WHERE decode(key) = 'key'"
    (key,) = one_row(database, noted, [str(data.claim_outcome)])
    return str(key)
