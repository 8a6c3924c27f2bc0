"""The queries of docs/datasette-grafana.md have answers, with what Grafana puts in the
place of its macros.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.pages import fenced, page
from tests.builders.stores import publish, queried

DAY_MS = 86_400_000
FROM, TO = "2026-11-15T12:00:00Z", "2026-11-23T12:00:00Z"
MACROS = {
    r"\$__from\b": str(NOON - 7 * DAY_MS),
    r"\$__to\b": str(NOON + DAY_MS),
    r"\$__timeFilter\((\w+)\)": rf"\1 BETWEEN '{FROM}' AND '{TO}'",
}


def queries(dialect: str) -> list[str]:
    found = fenced(page("docs/datasette-grafana.md"), "sql")
    assert all(each.startswith(("-- SQLite\n", "-- PostgreSQL\n")) for each in found)
    return [each for each in found if each.startswith(f"-- {dialect}\n")]


def expanded(sql: str) -> str:
    for macro, text in MACROS.items():
        sql = re.sub(macro, text, sql)
    assert "$" not in sql
    return sql


def test_queries_of_the_page_have_answers(tmp_path: Path, address: str) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line(f"seen-{n}", url=f"https://example.com/{n % 2}", visitor=f"visitor-{n % 2}") for n in range(5)])
    fold_all(data, NOON)
    publish(data, store=address)
    is_sqlite = address.startswith("sqlite")
    answers = [queried(address, expanded(sql)) for sql in queries("SQLite" if is_sqlite else "PostgreSQL")]
    by_day = (1_795_305_600,) if is_sqlite else ("2026-11-22",)
    expected = [[(*by_day, "example.com", 5)], [("example.com", "/0", 3), ("example.com", "/1", 2)]]
    if not is_sqlite:
        expected.insert(1, [("2026-11-22", "example.com", 2)])
        ((_, seconds),) = answers.pop()
        assert 0 <= seconds < 3600
    assert [[plain(row) for row in answer] for answer in answers] == expected


def plain(row: tuple[object, ...]) -> tuple[object, ...]:
    """Times as their day, numbers as whole ones."""
    return tuple(int(text) if (text := str(each)).isdecimal() else text[:11].strip() for each in row)
