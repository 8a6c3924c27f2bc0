"""Parts of counters written into one file with the same rows."""

from __future__ import annotations


def pack_statement(to: str) -> str:
    """Writes the rows of the files in the parameter `paths`. In this order DuckDB skips
    the row groups of dimensions that are not asked for.
    """
    quoted = to.replace("'", "''")
    return (
        f"COPY (FROM read_parquet($paths) ORDER BY dimension, bucket) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
    )
