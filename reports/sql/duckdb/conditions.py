"""The conditions of a filter in DuckDB's SQL, over events with ARCHIVE_COLUMNS."""

from __future__ import annotations

from reports.filters import VALUE, Condition, glob_regex
from reports.sql.duckdb.dimensions import dimension_sql
from reports.sql.statement import Parameters


def condition_sql(condition: Condition, name: str, bound: Parameters, table: str = "a") -> str:
    """Whether an event of `table` satisfies a condition: true or false, never NULL.
    `name` begins the names of what it binds.
    """
    if condition.field == VALUE:
        number = bound.value(name, float(condition.values[0]))
        return f"coalesce({table}.value {condition.operator} {number}::DOUBLE, false)"
    column = dimension_sql(condition.field, f"{name}_key", bound, table)
    found = [
        _matches(column, condition, value, f"{name}_{number}", bound) for number, value in enumerate(condition.values)
    ]
    if condition.is_negative:
        return " AND ".join(found)
    return f"({' OR '.join(found)})" if len(found) > 1 else found[0]


def _matches(column: str, condition: Condition, value: str, name: str, bound: Parameters) -> str:
    """Whether a column is, or for a negative condition is not, as a value says."""
    is_negative = condition.is_negative
    if not value:
        return f"{column} IS {'NOT ' if is_negative else ''}NULL"
    if condition.is_glob:
        found = f"regexp_full_match({column}, {bound.value(name, glob_regex(value))})"
        return f"coalesce(NOT {found}, true)" if is_negative else f"coalesce({found}, false)"
    # Only a plain comparison lets DuckDB skip row groups.
    return f"{column} {'IS DISTINCT FROM' if is_negative else '='} {bound.value(name, value)}"
