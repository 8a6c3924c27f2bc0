"""Each question of docs/sql.md has an answer in a store, and it is the right one."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold_all, line, sealed
from tests.builders.stores import publish

PAGE = Path(__file__).parents[3] / "docs" / "sql.md"


def test_questions_of_the_page_have_answers(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    seen = [line(f"seen-{n}", url=f"https://example.com/{n % 2}?utm_source=news") for n in range(5)]
    sealed(data, [*seen, *(line(f"bot-{n}", ua=GOOGLEBOT) for n in range(3))])
    fold_all(data, NOON)
    publish(data)
    questions = re.findall(r"```sql\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)
    with closing(sqlite3.connect(f"file:{tmp_path / 'analytics.db'}?mode=ro", uri=True)) as database:
        answers = [database.execute(question).fetchall() for question in questions]
    assert answers == [
        [("2026-11-22", 5)],
        [("example.com", "/0", 3), ("example.com", "/1", 2)],
        [("2026-46", "news", 5)],
        [("2026-11-22", 37.5)],
        [(1, "2026-11-22T12:00:00.000Z")],
    ]
