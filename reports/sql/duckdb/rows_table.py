"""Rows that are there already, as a relation of typed columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports.sql.statement import Parameters, Statement


def rows_statement(columns: Iterable[tuple[str, str, Sequence[Any]]], rows: int) -> Statement:
    """The rows in their order. `columns`: name and type, both the program's own, and
    the values.
    """
    bound = Parameters()
    selected = [f"unnest(range({bound.value('rows', rows)}::BIGINT)) AS place"]
    for number, (name, type_, values) in enumerate(columns):
        selected.append(f'unnest({bound.value(f"column{number}", values)}::{type_}[]) AS "{name}"')
    return Statement(f"SELECT * EXCLUDE place FROM (SELECT {', '.join(selected)}) ORDER BY place", bound)
