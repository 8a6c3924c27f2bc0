"""The texts that attack the hash of texts do so in the DuckDB that is installed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec
import pytest

from shared.duckdb_engine import connect
from tests.builders import floods
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


def test_texts_with_a_suffix() -> None:
    for made in (colliding, colliding_under_any_prefix):
        texts = made(400, '{"k":"', '"}')
        assert len(set(texts)) == 400 and all(json.loads(text) for text in texts)
        assert hash_values(texts) <= 2


@pytest.mark.parametrize("made", [colliding, colliding_under_any_prefix])
def test_the_control_has_as_many_hash_values_as_texts(made: Callable[[int, str, str], list[str]]) -> None:
    texts = made(10_000, "/article", "~")
    control = random_texts(texts, 8, 1)
    assert len(set(control)) == 10_000 == hash_values(control)
    assert [len(text) for text in control] == [len(text) for text in texts]
    assert all(text.startswith("/article") and text.endswith("~") for text in control)


MADE: dict[str, Callable[[], floods.Flood]] = {
    "fat": lambda: floods.fat(40),
    "combinations": lambda: floods.Flood(floods.combinations(1000), floods.everyday(1000)),
    **{place: lambda place=place: floods.colliding_texts(place, 400) for place in floods.PLACES},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", MADE)
def test_flood_and_its_control_are_of_the_same_size(name: str) -> None:
    attack, control = (sum(len(msgspec.json.encode(each)) for each in lines) for lines in MADE[name]())
    assert 0.8 < attack / control < 1.25
