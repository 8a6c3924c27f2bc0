"""Texts that share DuckDB's hash are told apart, and grouped in linear time."""

from __future__ import annotations

from contextlib import closing

import pytest

from shared.duckdb_engine import connect, one_row
from shared.sql.texts import TextNumbers, by_numbers, by_numbers_of_columns, keyed_number, stored_number
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


# Texts that share the hash behind a prefix of any whole blocks when it ends within one.
AT_HALF_A_BLOCK = [f"....{text}" for text in colliding_under_any_prefix(512)]


@pytest.mark.parametrize("texts", [*FAMILIES.values(), AT_HALF_A_BLOCK], ids=[*FAMILIES, "half a block"])
def test_texts_of_one_hash_have_different_keyed_numbers(texts: list[str]) -> None:
    rows = "(SELECT unnest($1::VARCHAR[]) AS text)"
    numbers = [
        f"count(DISTINCT {TextNumbers(keyed=True, secret=secret).number('text')})" for secret in (0, 1, 2**63 - 1)
    ]
    with closing(connect(128 << 20, 1)) as database:
        found = one_row(database, f"SELECT {', '.join(numbers)} FROM {rows}", [[*texts, *texts, None]])
    assert set(found) == {len(set(texts))}  # NULL has none


@pytest.mark.parametrize(
    ("ambiguous", "expected"),
    [
        ([set()], [(False, None)]),
        ([{"path"}, set()], [(False, None), (True, {"path"})]),
        ([{"path"}, {"event"}, set()], [(False, None), (True, {"path"}), (True, None)]),
    ],
)
def test_columns_with_ambiguous_numbers_get_strong_ones_and_then_all(
    ambiguous: list[set[str]], expected: list[tuple[bool, set[str] | None]]
) -> None:
    used: list[TextNumbers] = []

    def run(numbers: TextNumbers) -> frozenset[str]:
        used.append(numbers)
        return frozenset(ambiguous[len(used) - 1])

    by_numbers_of_columns(run)
    assert [(each.strong, each.columns) for each in used] == expected


def test_numbers_of_several_columns_have_one_type() -> None:
    numbers = TextNumbers(strong=True, columns=frozenset({"path"}))
    text = colliding(2)
    given = f"SELECT {text[0]!r} AS path, {text[0]!r} AS event UNION ALL SELECT {text[1]!r}, {text[1]!r}"
    columns = "count(DISTINCT {}), any_value(typeof({}))"
    of_each = (numbers.number("path"), numbers.number("event"), numbers.number("event", "path"))
    with closing(connect(64 << 20, 1)) as database:
        found = [one_row(database, f"SELECT {columns.format(sql, sql)} FROM ({given})") for sql in of_each]
        null = one_row(
            database,
            f"SELECT {numbers.number('path')}, {numbers.number('event')} FROM (SELECT NULL AS path, NULL AS event)",
        )
    assert found == [(2, "UHUGEINT"), (1, "UHUGEINT"), (2, "UHUGEINT")]
    assert null == (None, None)


def test_numbers_of_one_bucket_are_in_many_once_they_are_keyed() -> None:
    """The lowest bits of a hash are the bucket of a join."""
    same = "SELECT range::UBIGINT AS number FROM range(200000) WHERE hash(range::UBIGINT) & 255 = 7"
    bucket = f"hash({keyed_number('number')}) & 255"
    with closing(connect(128 << 20, 1)) as database:
        numbers, buckets = one_row(database, f"SELECT count(*), count(DISTINCT {bucket}) FROM ({same})")
        again = one_row(database, f"SELECT bool_and({keyed_number(keyed_number('number'))} = number) FROM ({same})")
    assert numbers > 600
    assert buckets > 200
    assert again == (True,)


def test_number_stays_a_key_beside_its_text() -> None:
    """DuckDB would group by the text alone, of which the number follows: of counts that
    it reads through a join.
    """
    joined = "(SELECT c.text, c.events FROM counts c JOIN (SELECT 1 AS day) d ON c.day = d.day)"
    numbered = f"(SELECT *, {TextNumbers(keyed=True).number('text')} AS number FROM {joined})"
    with closing(connect(128 << 20, 1)) as database:
        database.execute("CREATE TABLE counts AS SELECT 'a' || range AS text, 1 AS events, 1 AS day FROM range(20_000)")
        sql = f"EXPLAIN SELECT number, text, sum(events) FROM {numbered} GROUP BY number, text"
        plan = database.execute(sql).fetchall()[0][1]
    assert "Groups: #0, #1 " in plan
