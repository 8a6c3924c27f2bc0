"""The texts that attack the hash of texts do so in the DuckDB that is installed."""

from __future__ import annotations

import re

import pytest

from shared.duckdb_engine import connect
from tests.builders.collisions import colliding, colliding_under_any_prefix, random_texts


def hash_values(texts: list[str]) -> int:
    with connect(256 << 20, 1) as database:
        found = database.execute("SELECT count(DISTINCT hash(text)) FROM (SELECT unnest($1) AS text)", [texts])
        (values,) = found.fetchone() or (0,)
    return int(values)


@pytest.mark.parametrize("prefix", ["", "/", "/article", "https://example.com/a?utm_source="])
def test_texts_of_one_hash_value(prefix: str) -> None:
    texts = colliding(16_384, prefix)
    assert len(set(texts)) == 16_384 and all(text.startswith(prefix) for text in texts)
    assert hash_values(texts) == 1
    assert all(re.fullmatch(r"[A-Za-z_]{48}", text[-48:]) for text in texts)


def test_sites_of_one_hash_value() -> None:
    texts = colliding(400, lower_case=True)
    assert len(set(texts)) == 400 and all(re.fullmatch(r"[a-z]{48}", text) for text in texts)
    assert hash_values(texts) == 1


def test_hundred_thousand_texts_of_one_hash_value() -> None:
    texts = colliding(100_000, "/article")
    assert len(set(texts)) == 100_000
    assert hash_values(texts) == 1


@pytest.mark.parametrize("prefix", ["", "/article", "a secret that nobody knows.."])
def test_texts_of_two_hash_values_under_any_prefix(prefix: str) -> None:
    texts = colliding_under_any_prefix(1000, prefix)
    assert len(set(texts)) == 1000 and {len(text) for text in texts} == {len(texts[0])}
    assert hash_values(texts) <= 2


def test_the_control_has_as_many_hash_values_as_texts() -> None:
    texts = random_texts(10_000, like=colliding(1, "/article")[0])
    assert len(set(texts)) == 10_000 == hash_values(texts)
    assert {len(text) for text in texts} == {56}
