"""Values written into SQL text where DuckDB takes no parameter, and counting rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from shared.duckdb_engine import one_number


def sql_text(text: str) -> str:
    """A text as an SQL literal. For Foldlog's own paths and names only."""
    return "'" + text.replace("'", "''") + "'"


def sql_list(paths: Iterable[Path]) -> str:
    """Paths as an SQL list."""
    return "[" + ", ".join(sql_text(str(path)) for path in paths) + "]"


def count_rows(database: duckdb.DuckDBPyConnection, relation: str) -> int:
    """The rows of a table, or of a query in parentheses."""
    return one_number(database, f"SELECT count(*) FROM {relation}")
