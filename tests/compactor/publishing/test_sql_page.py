"""Each question of docs/sql.md has an answer in a store, and it is the right one."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from socket import gethostname

from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold_all, line, sealed
from tests.builders.stores import publish, queried

PAGE = Path(__file__).parents[3] / "docs" / "sql.md"
DAY = "2026-11-22"
ANSWERS: dict[str, list[tuple[object, ...]]] = {
    "Events of the last days": [(DAY, 5)],
    "Visitors of each site": [("example.com", DAY, 2, 5)],
    "The pages that": [("example.com", "/0", 3), ("example.com", "/1", 2)],
    "What happened": [("pageview", 5)],
    "The countries": [("DE", 5, 100.0)],
    "Each day beside": [(DAY, 5, None)],
    "The share of bots": [(DAY, 37.5)],
    "How old": [(1, "2026-11-22T12:00:00.000Z")],
}
ANSWERS_OF: dict[str, dict[str, list[tuple[object, ...]]]] = {
    "SQLite": {"Where visitors": [("2026-46", "news", 5)]},
    "PostgreSQL": {
        "Where visitors": [("2026-47", "news", 5)],
        "What each host": [(gethostname(), 5, 2, "2026-11-22T12:00:00.000Z")],
    },
}


def questions(dialect: str) -> dict[str, str]:
    """By the words before it, the SQL of each question in a dialect."""
    found, words = {}, ""
    for before, sql in re.findall(r"([^\n]*)\n+```sql\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL):
        words = before or words
        said = re.match(r"-- (\w+)\n", sql)
        if said is None or said[1] == dialect:
            found[words] = sql
    return found


def test_questions_of_the_page_have_answers(tmp_path: Path, address: str) -> None:
    dialect = "SQLite" if address.startswith("sqlite") else "PostgreSQL"
    data = data_directory(tmp_path / "data")
    seen = [
        line(f"seen-{n}", url=f"https://example.com/{n % 2}?utm_source=news", visitor=f"visitor-{n % 2}", country="DE")
        for n in range(5)
    ]
    sealed(data, [*seen, *(line(f"bot-{n}", ua=GOOGLEBOT) for n in range(3))])
    fold_all(data, NOON)
    publish(data, store=address)
    expected = ANSWERS | ANSWERS_OF[dialect]
    answers = {
        words: [tuple(map(plain, row)) for row in queried(address, sql)] for words, sql in questions(dialect).items()
    }
    assert len(answers) == len(expected)
    for words, answer in answers.items():
        assert answer == next(rows for start, rows in expected.items() if words.startswith(start)), words


def plain(value: object) -> object:
    """A value as SQLite has it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return str(value)
    return float(value) if isinstance(value, Decimal) else value
