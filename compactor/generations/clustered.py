"""The order of events in a part of a finished day, and writing them in that order.

What is sorted must fit into memory: DuckDB spills the rows of a sort only where they
are short. More than that is sorted in pieces that follow each other, and much more is
written as it comes.
"""

from __future__ import annotations

from datetime import date

from compactor.context import PassContext
from compactor.generations.part_files import COPY_OPTIONS, write_part
from compactor.sql import sql_file, sql_list, sql_text
from shared.duckdb_engine import one_number
from shared.generations.snapshot import Part
from shared.schema import STORED_COLUMNS
from shared.sql.memory import SORTED_SHARE, row_bytes_sql
from shared.sql.parquet import parquet
from shared.sql.texts import TextNumbers

# Each piece reads all rows once more, and all of them are on the disk meanwhile.
PIECES_MAX = 16
# The order of more events than this is not worth its time.
CLUSTERED_ROWS_MAX = 2_000_000
# DuckDB reads milliseconds as microseconds and would write them as such: a third more
# bytes. Of a relation `e`.
STORED_COLUMNS_SQL = ", ".join(
    f"e.{name}::TIMESTAMP_MS AS {name}" if kind == "TIMESTAMP" else f"e.{name}" for name, kind in STORED_COLUMNS.items()
)
# Of a relation `e`.
_BYTES_SQL = row_bytes_sql(STORED_COLUMNS, "e")


def write_clustered(context: PassContext, day: date, generation: int, events: str, rows: int) -> Part | None:
    """Publish a relation of stored events as an archive part, in the order of a
    finished day as far as memory allows it.
    """
    return write_part(context, "archive", day, generation, _clustered(context, events, rows), rows)


def _clustered(context: PassContext, events: str, rows: int) -> str:
    as_they_come = f"SELECT {STORED_COLUMNS_SQL} FROM {events} e"
    if rows > CLUSTERED_ROWS_MAX:
        return as_they_come
    most = context.settings.fold_memory // SORTED_SHARE
    size = one_number(context.database, f"SELECT sum({_BYTES_SQL})::BIGINT FROM {events} e")
    if size <= most:
        return f"{as_they_come} ORDER BY {_sort_key()}"
    if size <= most * PIECES_MAX:
        return _in_pieces(context, events, most)
    return as_they_come


def _sort_key() -> str:
    numbers = TextNumbers()
    key = {name: numbers.number(f"e.{name}") for name in ("site", "country")}
    return sql_file(__file__, "sort_key.sql", **key)


def _in_pieces(context: PassContext, events: str, most: int) -> str:
    """SQL of the events in order, read from files in the scratch directory."""
    database, key = context.database, _sort_key()
    database.execute(f"CREATE OR REPLACE TEMP TABLE unsorted AS FROM {events}")
    database.execute(sql_file(__file__, "pieces.sql", key=key, bytes=_BYTES_SQL), {"piece_bytes": most})
    paths = []
    for piece in range(one_number(database, "SELECT max(piece) + 1 FROM pieces")):
        paths.append(context.scratch / f"piece-{piece}.parquet")
        rows = f"SELECT e.* FROM unsorted e JOIN pieces p ON e.rowid = p.row WHERE p.piece = {piece} ORDER BY {key}"
        database.execute(f"COPY ({rows}) TO {sql_text(str(paths[-1]))} ({COPY_OPTIONS})")
    database.execute("DROP TABLE unsorted")
    database.execute("DROP TABLE pieces")
    return f"SELECT {STORED_COLUMNS_SQL} FROM {parquet(sql_list(paths))} e"
