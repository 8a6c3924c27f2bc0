"""Parquet files as rows of a statement."""

from __future__ import annotations


def parquet(files: str, *options: str) -> str:
    """SQL of the rows of Parquet files; `files` is SQL, too. A folder above them such
    as `env=prod` is a name, not a column: each statement that reads files says so.
    """
    return f"read_parquet({', '.join((files, *options, 'hive_partitioning = false'))})"
