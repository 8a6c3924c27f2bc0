"""What DuckDB may take at once when it sorts or writes rows of any size."""

from __future__ import annotations

from collections.abc import Mapping

# Bytes of a row group of a Parquet file. By rows, fat events would exceed any memory.
ROW_GROUP_BYTES = 16 << 20
# What is sorted at once is at most this share of the memory: DuckDB spills the rows of
# a sort only where they are short, and rows of 30 KB take twice as much in it.
SORTED_SHARE = 4
_ROW_BYTES = 200


def row_bytes_sql(columns: Mapping[str, str], table: str = "") -> str:
    """SQL of the bytes that a row takes in memory. `columns`: types by name."""
    prefix = f"{table}." if table else ""
    texts = [name for name, kind in columns.items() if kind == "VARCHAR"]
    return f"{_ROW_BYTES} + " + " + ".join(f"coalesce(strlen({prefix}{name}), 0)" for name in texts)
