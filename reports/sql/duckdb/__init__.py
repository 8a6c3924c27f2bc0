"""Reports in DuckDB's SQL. Python composes the relations that vary with columns,
filters and parts (relations.py); the statements over them are the `.sql` files.
"""

from reports.sql.duckdb.exports import Place, ends_statement, piece_statement, pieces_statement, size_statement
from reports.sql.duckdb.kind_statements import kind_statement
from reports.sql.duckdb.statements import events_statement, parquet_copy, statement

__all__ = [
    "Place",
    "ends_statement",
    "events_statement",
    "kind_statement",
    "parquet_copy",
    "piece_statement",
    "pieces_statement",
    "size_statement",
    "statement",
]
