"""Parts of counters written into one file with the same rows."""

from __future__ import annotations

from shared.sql.parquet import parquet


def pack_statement(to: str) -> str:
    """Writes the rows of the files in the parameter `paths`. In this order DuckDB skips
    the row groups of dimensions that are not asked for.
    """
    quoted, rows = to.replace("'", "''"), f"FROM {parquet('$paths')} ORDER BY dimension, bucket"
    return f"COPY ({rows}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
