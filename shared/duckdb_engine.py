"""DuckDB as both halves use it: in memory, bounded, without network or extensions,
spilling to a directory that it is given.
"""

from __future__ import annotations

from pathlib import Path

import duckdb


def connect(memory_bytes: int, threads: int, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A new in-memory database that uses at most `memory_bytes` and, where `spill` is
    given, disk beyond them.
    """
    return duckdb.connect(
        config={
            "memory_limit": f"{memory_bytes}B",
            "threads": threads,
            "temp_directory": str(spill) if spill else "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "preserve_insertion_order": False,
        }
    )
