"""The rows of a report as Parquet, for programs: each value as it is, in a column whose
type depends on its name alone, so that files of two questions can be read together.

DuckDB writes a file among what it spills, which is read and deleted: Parquet ends with
an index of the whole.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb

from reports.compared_rows import CHANGE, PREVIOUS, count_table
from reports.kinds import KIND, csv_table
from reports.sql.duckdb.rows_table import rows_statement
from reports.sql.duckdb.statements import parquet_copy
from reports.visits.made import room_for_visits

_TIMES = frozenset({"time", f"{PREVIOUS}_time"})
_TEXTS = frozenset({"value", "filter", "goal", "by", "via"})
# Counts are whole numbers; these, and every change, need not be.
_FRACTIONS = frozenset(
    {
        *("views_per_visit", "bounce_rate", "visit_duration", "value_sum", "value_avg", "value_p50", "value_p95"),
        *("engaged_time", "engaged_p50", "rate", "conversion", "step_conversion", "median_s", "median_from_first_s"),
    }
)


def encode_parquet(database: duckdb.DuckDBPyConnection, report: Mapping[str, Any]) -> bytes:
    """The columns are those of CSV. Times are instants."""
    columns, rows = csv_table(report) if KIND in report else count_table(report)
    typed = [(name, type_of(name), [_value(name, row.get(name)) for row in rows]) for name in columns]
    table = rows_statement(typed, len(rows))
    with room_for_visits(database) as room:
        path = room / f"report-{secrets.token_hex(8)}.parquet"
        try:
            copy = parquet_copy(table, str(path))
            database.execute(copy.text, copy.parameters.values)
            return path.read_bytes()
        finally:
            path.unlink(missing_ok=True)


def type_of(column: str) -> str:
    """DuckDB's type of a column of CSV."""
    if column in _TIMES:
        return "TIMESTAMPTZ"
    if column in _TEXTS:
        return "VARCHAR"
    is_fraction = column.removeprefix(f"{PREVIOUS}_") in _FRACTIONS or column.startswith(f"{CHANGE}_")
    return "DOUBLE" if is_fraction else "BIGINT"


def _value(column: str, value: Any) -> Any:
    if value is None:
        return None
    if column in _TIMES:
        return datetime.fromisoformat(value)
    return float(value) if type_of(column) == "DOUBLE" else value
