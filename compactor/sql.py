"""SQL files, values written into SQL where DuckDB takes no parameter, and row
counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.duckdb_engine import one_number

if TYPE_CHECKING:
    import duckdb


def sql_text(text: str) -> str:
    """A text as an SQL literal. For Foldlog's own paths and names only."""
    return "'" + text.replace("'", "''") + "'"


def sql_texts(texts: Iterable[str]) -> str:
    """Texts as an SQL list; as for one."""
    return "[" + ", ".join(map(sql_text, texts)) + "]"


def sql_list(paths: Iterable[Path]) -> str:
    """Paths as an SQL list."""
    return sql_texts(map(str, paths))


def sql_file(module: str, name: str, **composed: str) -> str:
    """The text of a .sql file beside a module, which is given as its `__file__`. Each
    `{name}` in it is replaced by SQL that was composed; values are parameters.
    """
    return re.sub(r"\{(\w+)\}", lambda found: composed[found[1]], _read(Path(module).with_name(name)))


@cache
def _read(path: Path) -> str:
    return path.read_text("utf-8")


def run_script(database: duckdb.DuckDBPyConnection, text: str, values: Mapping[str, object] | None = None) -> None:
    """Run the statements of a .sql file, which are separated by empty lines. A
    statement gets the parameters that it has.
    """
    for statement in text.split(";\n\n"):
        used = {name: value for name, value in (values or {}).items() if f"${name}" in statement}
        database.execute(statement, used or None)


def count_rows(database: duckdb.DuckDBPyConnection, relation: str, values: object = None) -> int:
    """The rows of a table, or of a query in parentheses, with the parameters
    `values`.
    """
    return one_number(database, f"SELECT count(*) FROM {relation}", values)
