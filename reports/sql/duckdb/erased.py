"""An archive part without visitors who are to be erased, as a statement."""

from __future__ import annotations

from collections.abc import Iterable

from reports.sql.duckdb.statements import parquet_copy
from reports.sql.statement import Parameters, Statement
from shared.sql.parquet import parquet


def copy_without(visitors: Iterable[tuple[str, str | None]], part: str, copied: str) -> Statement:
    """Copies a part without the events of visitors, each on one site or on all (None).
    Both paths are the program's own.
    """
    bound, quoted = Parameters(), f"'{part}'"
    text = f"SELECT * FROM {parquet(quoted)} WHERE NOT coalesce({_is_gone(bound, visitors)}, false)"
    return parquet_copy(Statement(text, bound), copied)


def find_one_of(visitors: Iterable[tuple[str, str | None]], part: str) -> Statement:
    """A row where a part has an event of one of them."""
    bound, quoted = Parameters(), f"'{part}'"
    return Statement(
        f"SELECT 1 FROM {parquet(quoted)} WHERE {_is_gone(bound, visitors)} LIMIT 1",
        bound,
    )


def _is_gone(bound: Parameters, visitors: Iterable[tuple[str, str | None]]) -> str:
    """Each is compared, for a join would hash texts."""
    gone = [
        f"visitor = {bound.value(f'visitor_{number}', visitor)}"
        + (f" AND site = {bound.value(f'site_{number}', site)}" if site is not None else "")
        for number, (visitor, site) in enumerate(visitors)
    ]
    return "(" + " OR ".join(f"({each})" for each in gone) + ")"
