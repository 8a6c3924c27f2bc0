"""Reports in DuckDB's SQL. Python composes the relations that vary with columns,
filters and parts (relations.py); the statements over them are the `.sql` files.
"""

from reports.sql.duckdb.statements import Grouping, events_statement, parquet_copy, statement

__all__ = ["Grouping", "events_statement", "parquet_copy", "statement"]
