"""Texts that share DuckDB's hash are told apart, and grouped in linear time."""

from __future__ import annotations

from contextlib import closing

import pytest

from shared.duckdb_engine import connect, one_row
from shared.sql.texts import TextNumbers, by_numbers, stored_number
from tests.builders.collisions import colliding, colliding_under_any_prefix, random_texts

COLLIDING = colliding(500)
FAMILIES = {
    "plain": COLLIDING,
    "any prefix": colliding_under_any_prefix(512),
    "random": random_texts(COLLIDING),
    "short": ["", "a", "b", "é"],
}


@pytest.mark.parametrize("texts", FAMILIES.values(), ids=FAMILIES)
def test_each_text_gets_a_group_of_its_own(texts: list[str]) -> None:
    groups: list[int] = []
    with closing(connect(128 << 20, 1)) as database:
        database.execute("CREATE TABLE texts AS SELECT unnest($1::VARCHAR[]) AS text", [[*texts, *texts, None]])

        def group(numbers: TextNumbers) -> bool:
            sql = (
                f"SELECT count(*), bool_or(is_ambiguous) FROM (SELECT {numbers.is_ambiguous('text')} AS is_ambiguous "
                f"FROM texts GROUP BY {numbers.number('text')})"
            )
            found, is_ambiguous = one_row(database, sql)
            groups.append(found)
            return bool(is_ambiguous)

        by_numbers(group)
        stored = one_row(database, f"SELECT count(DISTINCT {stored_number('text')}) FROM texts")
    assert groups[-1] == len(set(texts)) + 1  # NULL is a group, too
    assert len(groups) == (2 if texts in (FAMILIES["plain"], FAMILIES["any prefix"]) else 1)
    assert stored == (len(set(texts)),)
