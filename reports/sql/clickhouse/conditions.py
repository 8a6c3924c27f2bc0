"""The conditions of a filter in ClickHouse's SQL."""

from __future__ import annotations

from reports.dimensions import PROPS
from reports.filters import VALUE, Condition, glob_regex
from reports.sql.clickhouse.bound import Bound
from shared.schema import column_sql


def condition_sql(condition: Condition, name: str, bound: Bound) -> str:
    """Whether an event of `a` satisfies a condition. `name` begins the names of what it
    binds.
    """
    if condition.field == VALUE:
        number = bound.value(name, "Float64", float(condition.values[0]))
        return f"ifNull(a.value {condition.operator} {number}, 0)"
    column = dimension_sql(condition.field, f"{name}_key", bound)
    found = [
        _matches(column, condition, value, f"{name}_{number}", bound) for number, value in enumerate(condition.values)
    ]
    return f"({(' AND ' if condition.is_negative else ' OR ').join(found)})"


def dimension_sql(name: str, key: str, bound: Bound) -> str:
    """A dimension, or a property, whose key is bound as `key`."""
    if not name.startswith(PROPS):
        return f"toNullable(toString({column_sql(name)}))"
    of = bound.value(key, "String", name.removeprefix(PROPS))
    return f"if(has(prop_keys, {of}), prop_values[indexOf(prop_keys, {of})], NULL)"


def _matches(column: str, condition: Condition, value: str, name: str, bound: Bound) -> str:
    """Events without a value differ from every value."""
    is_negative = condition.is_negative
    if not value:
        return f"{column} IS {'NOT ' if is_negative else ''}NULL"
    if condition.is_glob:
        found = f"match({column}, {bound.value(name, 'String', glob_regex(value))})"
        return f"ifNull(NOT {found}, 1)" if is_negative else f"ifNull({found}, 0)"
    given = bound.value(name, "String", value)
    return f"ifNull({column} != {given}, 1)" if is_negative else f"ifNull({column} = {given}, 0)"
