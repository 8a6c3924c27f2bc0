"""DuckDB as every process uses it: in memory, bounded, without network or
extensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

# It leaves what depends on another key out of a GROUP BY: the number of a text, beside
# which the text alone may be hashed (shared/sql/texts.py).
_NOT_OPTIMIZED = "duplicate_groups"


def connect(memory_bytes: int, threads: int, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A new in-memory database that uses at most `memory_bytes`, and the directory
    `spill`, if given, for what exceeds them.
    """
    import duckdb  # here, because it takes 20 MiB that a process without a query saves

    return duckdb.connect(
        config={
            "memory_limit": f"{memory_bytes}B",
            "threads": threads,
            "temp_directory": str(spill) if spill else "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "preserve_insertion_order": False,
            "disabled_optimizers": _NOT_OPTIMIZED,
        }
    )


def limit_spill(database: duckdb.DuckDBPyConnection, max_bytes: int) -> None:
    """How much the directory for what exceeds the memory may hold. A query that needs
    more raises OutOfMemoryException.
    """
    database.execute(f"SET max_temp_directory_size = '{max_bytes}B'")


def keep_free(database: duckdb.DuckDBPyConnection, free_bytes: int) -> None:
    """How much of the disk what a question writes besides leaves free."""
    database.execute(f"SET VARIABLE keep_free_bytes = {free_bytes}")


def bytes_kept_free(database: duckdb.DuckDBPyConnection) -> int:
    return one_number(database, "SELECT getvariable('keep_free_bytes')")


def set_threads(database: duckdb.DuckDBPyConnection, threads: int) -> None:
    database.execute(f"SET threads = {threads}")


def forget_files(database: duckdb.DuckDBPyConnection) -> None:
    """Read files anew for each query: what a database that lives long keeps of one was
    not compared with its sha256 since.
    """
    database.execute("SET enable_external_file_cache = false")


@contextmanager
def one_thread(database: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """While the block runs, statements use one thread: each of several wants memory of
    its own.
    """
    threads = one_number(database, "SELECT current_setting('threads')")
    set_threads(database, 1)
    try:
        yield
    finally:
        set_threads(database, threads)


def database_error(name: str = "Error") -> type[Exception]:
    """A class of DuckDB's errors, for an `except` clause. Python evaluates the clause
    only once an error is raised, so it loads DuckDB for no process that needs none.
    """
    import duckdb

    found: type[Exception] = getattr(duckdb, name)
    return found


def one_row(database: duckdb.DuckDBPyConnection, sql: str, values: object = None) -> tuple[Any, ...]:
    """The row of a query that has exactly one, such as an aggregate without GROUP
    BY.
    """
    row = database.execute(sql, values).fetchone()
    if row is None:
        raise AssertionError(f"no row: {sql}")
    return row


def one_number(database: duckdb.DuckDBPyConnection, sql: str, values: object = None) -> int:
    """The integer in the first column of such a row; 0 for NULL."""
    return one_row(database, sql, values)[0] or 0
